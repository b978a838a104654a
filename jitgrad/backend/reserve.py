"""Memory of run-time sizes: the helpers by which a body gets it, as LLVM text.

In: a slot, the bytes wanted. Out: memory that begins at a cache line. What lives for a call comes from the arena as
long as that has room, which costs nothing and is warm; the rest is asked of the process, and the caller is told how
large an arena would have done (`form`). What a body gives away as a result is always the process's.
"""

from __future__ import annotations

__all__ = ["BUMP", "OWN", "PRODUCT", "RELEASE"]

PRODUCT = """
define internal i64 @jg_product(i64 %x, i64 %y) alwaysinline nounwind {
  %pair = call { i64, i1 } @llvm.umul.with.overflow.i64(i64 %x, i64 %y)
  %product = extractvalue { i64, i1 } %pair, 0
  %wide = extractvalue { i64, i1 } %pair, 1
  %size = select i1 %wide, i64 -1, i64 %product
  ret i64 %size
}
declare { i64, i1 } @llvm.umul.with.overflow.i64(i64, i64)"""

OWN = """
define internal ptr @jg_own(ptr %slot, i64 %bytes) noinline nounwind {
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
}"""

RELEASE = """
define internal void @jg_release(ptr %memory, ptr %arena, i64 %room) noinline nounwind {
  %at = ptrtoint ptr %memory to i64
  %from = ptrtoint ptr %arena to i64
  %offset = sub i64 %at, %from
  %lent = icmp ult i64 %offset, %room
  %owned = select i1 %lent, ptr null, ptr %memory
  call void @jg_free(ptr %owned)
  ret void
}"""

# What a slot had and outgrew is left behind in the arena: it grows twofold, so that this is no more than it has.
BUMP = """
define internal ptr @jg_reserve(ptr %slot, i64 %bytes, ptr %arena, i64 %room, ptr %top) noinline nounwind {
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
declare i64 @llvm.umax.i64(i64, i64)
declare i64 @llvm.uadd.sat.i64(i64, i64)"""
