"""Sorting of positions by what lies there, as LLVM text.

In: a dtype. Out: a helper `(data, stride, n, work)` that leaves in `work` the positions of n elements in order, those
of equal elements as they were, NaN last. A merge sort from small runs to large: `work` holds two rows of positions,
which are merged into each other in turn, and has the result in the first.
"""

from __future__ import annotations

import numpy as np

from jitgrad.backend.text import element_type

__all__ = ["sorter"]

_FLOATS = """\
  %less = fcmp olt KIND %y, %x
  %nan = fcmp uno KIND %x, %x
  %real = fcmp ord KIND %y, %y
  %only = and i1 %nan, %real
  %right = or i1 %less, %only"""

_SORTER = """
define internal void @NAME(ptr %data, i64 %stride, i64 %n, ptr %work) noinline nounwind {
entry:
  %second = getelementptr i64, ptr %work, i64 %n
  br label %fill
fill:
  %f = phi i64 [ 0, %entry ], [ %fnext, %fillone ]
  %fmore = icmp slt i64 %f, %n
  br i1 %fmore, label %fillone, label %pass
fillone:
  %fplace = getelementptr i64, ptr %work, i64 %f
  store i64 %f, ptr %fplace
  %fnext = add i64 %f, 1
  br label %fill
pass:
  %width = phi i64 [ 1, %fill ], [ %wider, %swapped ]
  %from = phi ptr [ %work, %fill ], [ %to, %swapped ]
  %to = phi ptr [ %second, %fill ], [ %from, %swapped ]
  %more = icmp slt i64 %width, %n
  br i1 %more, label %runs, label %finish
runs:
  %start = phi i64 [ 0, %pass ], [ %end, %merged ]
  %some = icmp slt i64 %start, %n
  br i1 %some, label %run, label %swapped
swapped:
  %wider = shl i64 %width, 1
  br label %pass
run:
  %middle0 = add i64 %start, %width
  %middle = call i64 @llvm.smin.i64(i64 %middle0, i64 %n)
  %end0 = add i64 %middle, %width
  %end = call i64 @llvm.smin.i64(i64 %end0, i64 %n)
  br label %merge
merge:
  %i = phi i64 [ %start, %run ], [ %inext, %take ]
  %j = phi i64 [ %middle, %run ], [ %jnext, %take ]
  %k = phi i64 [ %start, %run ], [ %knext, %take ]
  %all = icmp slt i64 %k, %end
  br i1 %all, label %look, label %merged
merged:
  br label %runs
look:
  %left = icmp slt i64 %i, %middle
  %rest = icmp slt i64 %j, %end
  %both = and i1 %left, %rest
  br i1 %both, label %compare, label %take
compare:
  %iplace = getelementptr i64, ptr %from, i64 %i
  %jplace = getelementptr i64, ptr %from, i64 %j
  %iat = load i64, ptr %iplace
  %jat = load i64, ptr %jplace
  %ioff = mul i64 %iat, %stride
  %joff = mul i64 %jat, %stride
  %xp = getelementptr KIND, ptr %data, i64 %ioff
  %yp = getelementptr KIND, ptr %data, i64 %joff
  %x = load KIND, ptr %xp
  %y = load KIND, ptr %yp
BEFORE
  br label %take
take:
  %rightone = phi i1 [ %rest, %look ], [ %right, %compare ]
  %source = select i1 %rightone, i64 %j, i64 %i
  %splace = getelementptr i64, ptr %from, i64 %source
  %value = load i64, ptr %splace
  %tplace = getelementptr i64, ptr %to, i64 %k
  store i64 %value, ptr %tplace
  %istep = select i1 %rightone, i64 0, i64 1
  %jstep = select i1 %rightone, i64 1, i64 0
  %inext = add i64 %i, %istep
  %jnext = add i64 %j, %jstep
  %knext = add i64 %k, 1
  br label %merge
finish:
  %home = icmp eq ptr %from, %work
  br i1 %home, label %done, label %bring
bring:
  %bytes = shl i64 %n, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %work, ptr %from, i64 %bytes, i1 false)
  br label %done
done:
  ret void
}"""


def sorter(name: str, dtype: np.dtype) -> str:
    """Return the text of a helper that sorts positions of numbers of a dtype."""
    # y goes before x if it is less, or if only x is NaN.
    less = "slt" if dtype.kind == "i" else "ult"
    before = _FLOATS if dtype.kind == "f" else f"  %right = icmp {less} KIND %y, %x"
    return _SORTER.replace("BEFORE", before).replace("KIND", element_type(dtype)).replace("NAME", name)
