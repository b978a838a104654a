"""The interface of the backend's call machinery; see `form` for the words that the body and the entry exchange.

    form = CallForm(arguments=(ScalarLeaf("float", np.dtype(float)),), result=NumberResult("float", np.dtype(float)))
    spec = link(form, body_ir, on_error=raise_it, level="minimal")     # jitgrad.backend.specialisation
    spec.run((3.0,))                     # leaves in order, checked, no outside facts: from the Python slow path
    install(transformed, spec)           # jitgrad.backend.runtime: newest first, four native ones, then `_slow_call`

    @callable_type                       # jitgrad.backend.runtime
    class Transformed:
        def __init__(self, ...): ...
        def _slow_call(self, *args, **kwargs): ...
"""
