"""Memory of run-time sizes: the helpers by which a body gets it, as LLVM text.

In: a slot, the bytes wanted. Out: memory that begins at a cache line. What lives for a call comes from the arena as
long as that has room, which costs nothing and is warm; the rest is asked of the process, and the caller is told how
large an arena would have done (`form`). What a body gives away as a result is always the process's.
"""

from __future__ import annotations

from jitgrad.backend.engine import define_on_demand
from jitgrad.backend.pacing import RUNTIME
from jitgrad.backend.text import FunctionText

__all__ = ["PRODUCT", "declare_memory"]

PRODUCT = """
define internal i64 @jg_product(i64 %x, i64 %y) alwaysinline nounwind {
  %pair = call { i64, i1 } @llvm.umul.with.overflow.i64(i64 %x, i64 %y)
  %product = extractvalue { i64, i1 } %pair, 0
  %wide = extractvalue { i64, i1 } %pair, 1
  %size = select i1 %wide, i64 -1, i64 %product
  ret i64 %size
}
declare { i64, i1 } @llvm.umul.with.overflow.i64(i64, i64)"""

# No more is said of them: what a slot held is freed, so that what was stored there must be stored before.
_DECLARED = {
    "jg_grow": "i1 @jg_grow(ptr nocapture, i64, i64) nounwind",
    "jg_own": "ptr @jg_own(ptr nocapture, i64) nounwind",
    "jg_release": "void @jg_release(ptr, ptr nocapture, i64) nounwind",
    "jg_reserve": "ptr @jg_reserve(ptr nocapture, i64, ptr, i64, ptr nocapture) nounwind",
}

# What a slot had and outgrew is left behind in the arena: it grows twofold, so that this is no more than it has.
_FUNCTIONS = """
define i1 @jg_grow(ptr %header, i64 %count, i64 %bytes) nounwind {
  %place = getelementptr i8, ptr %header, i64 16
  %have = load i64, ptr %place
  %enough = icmp sge i64 %have, %count
  br i1 %enough, label %fine, label %more
more:
  %double = shl i64 %have, 1
  %small = icmp slt i64 %double, %count
  %least = select i1 %small, i64 %count, i64 %double
  %few = icmp slt i64 %least, 16
  %want = select i1 %few, i64 16, i64 %least
  %pair = call { i64, i1 } @llvm.umul.with.overflow.i64(i64 %want, i64 %bytes)
  %wide = extractvalue { i64, i1 } %pair, 1
  br i1 %wide, label %bad, label %ask
ask:
  %product = extractvalue { i64, i1 } %pair, 0
  %none = icmp eq i64 %product, 0
  %size = select i1 %none, i64 16, i64 %product
  %old = load ptr, ptr %header
  %got = call ptr @jg_realloc(ptr %old, i64 %size)
  %failed = icmp eq ptr %got, null
  br i1 %failed, label %bad, label %keep
keep:
  store ptr %got, ptr %header
  store i64 %want, ptr %place
  br label %fine
fine:
  ret i1 true
bad:
  ret i1 false
}
define ptr @jg_own(ptr %slot, i64 %bytes) nounwind {
start:
  %old = load ptr, ptr %slot
  %where = getelementptr i8, ptr %slot, i64 8
  %have = load i64, ptr %where
  %some = icmp ne ptr %old, null
  %enough = icmp uge i64 %have, %bytes
  %keep = and i1 %some, %enough
  br i1 %keep, label %done, label %new
new:
  call void @jg_free(ptr %old)
  %low = icmp ult i64 %bytes, 64
  %size = select i1 %low, i64 64, i64 %bytes
  %got = call ptr @jg_malloc(i64 %size)
  store ptr %got, ptr %slot
  store i64 %size, ptr %where
  br label %done
done:
  %found = phi ptr [ %old, %start ], [ %got, %new ]
  ret ptr %found
}
define void @jg_release(ptr %memory, ptr %arena, i64 %room) nounwind {
  %at = ptrtoint ptr %memory to i64
  %from = ptrtoint ptr %arena to i64
  %offset = sub i64 %at, %from
  %lent = icmp ult i64 %offset, %room
  %owned = select i1 %lent, ptr null, ptr %memory
  call void @jg_free(ptr %owned)
  ret void
}
define ptr @jg_reserve(ptr %slot, i64 %bytes, ptr %arena, i64 %room, ptr %top) nounwind {
start:
  %old = load ptr, ptr %slot
  %where = getelementptr i8, ptr %slot, i64 8
  %have = load i64, ptr %where
  %some = icmp ne ptr %old, null
  %enough = icmp uge i64 %have, %bytes
  %keep = and i1 %some, %enough
  br i1 %keep, label %done, label %new
new:
  call void @jg_release(ptr %old, ptr %arena, i64 %room)
  %twice = shl i64 %have, 1
  %more = call i64 @llvm.umax.i64(i64 %bytes, i64 %twice)
  %past = call i64 @llvm.uadd.sat.i64(i64 %more, i64 63)
  %whole = and i64 %past, -64
  %size = call i64 @llvm.umax.i64(i64 %whole, i64 64)
  %from = load i64, ptr %top
  %next = call i64 @llvm.uadd.sat.i64(i64 %from, i64 %size)
  store i64 %next, ptr %top
  store i64 %size, ptr %where
  %fits = icmp ule i64 %next, %room
  br i1 %fits, label %lend, label %ask
lend:
  %lent = getelementptr i8, ptr %arena, i64 %from
  store ptr %lent, ptr %slot
  br label %done
ask:
  %all = call i64 @llvm.uadd.sat.i64(i64 %size, i64 63)
  %got = call ptr @jg_malloc(i64 %all)
  store ptr %got, ptr %slot
  br label %done
done:
  %raw = phi ptr [ %old, %start ], [ %lent, %lend ], [ %got, %ask ]
  %at = ptrtoint ptr %raw to i64
  %up = add i64 %at, 63
  %line = and i64 %up, -64
  %found = inttoptr i64 %line to ptr
  ret ptr %found
}
declare { i64, i1 } @llvm.umul.with.overflow.i64(i64, i64)
declare i64 @llvm.umax.i64(i64, i64)
declare i64 @llvm.uadd.sat.i64(i64, i64)"""


def declare_memory(text: FunctionText, *names: str) -> None:
    """Declare functions of this room for emitted code."""
    for name in names:
        text.declare(_DECLARED[name])


def _module() -> str:
    declared = [f"declare {RUNTIME[name]}" for name in ("jg_malloc", "jg_realloc", "jg_free")]
    return "\n".join([*declared, _FUNCTIONS])


define_on_demand(tuple(_DECLARED), _module, level="minimal")
