"""The pending completions of a pool, sorted, in vector registers: what the compiled loops keep of it.

A pool of k executors is k times at which its executors become free, ascending. A request that starts takes
the place of the earliest, and its own end is sorted in: comparing and shifting all k at once takes a
handful of vector instructions and not one branch, where shifting one by one mispredicts at every request.
LLVM splits the blocks of eight where a machine has shorter vectors.

The last end is sorted in one request late. Until then it is compared on its own, so that the next request
waits for one comparison rather than for the whole pool to be sorted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perfmodel.sim.machine_code import intrinsic, ir, models, register_model, types

LANES = 8
_INT32, _INT64, _DOUBLE = ir.IntType(32), ir.IntType(64), ir.DoubleType()
_BLOCK = ir.VectorType(_DOUBLE, LANES)
_NEVER = ir.Constant(_BLOCK, [float("inf")] * LANES)
_LONG_AGO = ir.Constant(_BLOCK, [float("-inf")] * LANES)


def inlined(emit: Callable[..., Any]) -> Any:
    """Let compiled functions call what `emit` writes as LLVM instructions."""
    return intrinsic(emit)


def blocks_for(num_executors: int) -> tuple[int, ...]:
    """Return a tuple whose length, part of its type, is the number of blocks that hold the executors."""
    return (0,) * -(-num_executors // LANES)


class Completions(types.Type):
    """numba's type of the completions of a pool, as many blocks as it takes."""

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        super().__init__(name=f"Completions({num_blocks})")


@register_model(Completions)
class _CompletionsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Completions) -> None:
        super().__init__(manager, numba_type, ir.ArrayType(_BLOCK, numba_type.num_blocks))  # type: ignore[no-untyped-call]


@inlined
def all_idle(_: Any, blocks: Any, num_executors: Any) -> Any:  # noqa: ARG001
    """Return the completions of executors that have never worked; slots beyond them hold +inf."""
    kind = Completions(blocks.count)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        limit = _splat(builder, args[1])
        pool = ir.Constant(ir.ArrayType(_BLOCK, kind.num_blocks), ir.Undefined)
        for block in range(kind.num_blocks):
            slots = [block * LANES + lane for lane in range(LANES)]
            beyond = builder.icmp_signed(">=", ir.Constant(ir.VectorType(_INT64, LANES), slots), limit)
            pool = builder.insert_value(pool, builder.select(beyond, _NEVER, _LONG_AGO), block)
        return pool

    return kind(blocks, types.int64), build


@inlined
def earliest_s(_: Any, pool: Any) -> Any:
    """Return the first of the completions."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.extract_element(builder.extract_value(args[0], 0), ir.Constant(_INT32, 0))

    return types.float64(pool), build


@inlined
def next_start_s(_: Any, pool: Any, last_end_s: Any, from_s: Any) -> Any:
    """Return the start of a request that may start from `from_s` on: then, or when an executor is free.

    After the last end has been sorted in, the earliest completion is the second, or, rarely, that end. A
    branch, and not a minimum: the processor then need not wait for the end to go on.
    """

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        completions, end_s, start_s = args
        second_s = builder.extract_element(builder.extract_value(completions, 0), ir.Constant(_INT32, 1))
        before = builder.block
        with builder.if_then(builder.fcmp_ordered("<", end_s, second_s), likely=False):
            # An empty instruction, lest LLVM turn the branch into the minimum.
            builder.asm(ir.FunctionType(ir.VoidType(), []), "", "", [], True)
            inside = builder.block
        free_s = builder.phi(_DOUBLE)
        free_s.add_incoming(second_s, before)
        free_s.add_incoming(end_s, inside)
        return _larger(builder, free_s, start_s)

    return types.float64(pool, last_end_s, from_s), build


@inlined
def count_after(_: Any, pool: Any, time_s: Any) -> Any:
    """Return how many slots hold a completion after a time; those beyond the executors count too."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        limit_s = _splat(builder, args[1])
        count = ir.Constant(_INT64, 0)
        per_word = 64 // LANES
        for first in range(0, pool.num_blocks, per_word):
            word = ir.Constant(_INT64, 0)
            for block in range(first, min(first + per_word, pool.num_blocks)):
                later = builder.fcmp_ordered(">", builder.extract_value(args[0], block), limit_s)
                bits = builder.zext(builder.bitcast(later, ir.IntType(LANES)), _INT64)
                shifted = builder.shl(bits, ir.Constant(_INT64, LANES * (block - first)))
                word = builder.or_(word, shifted)
            count = builder.add(count, builder.ctpop(word))
        return count

    return types.uintp(pool, time_s), build


@inlined
def sorted_in(_: Any, pool: Any, end_s: Any) -> Any:
    """Return the completions with the earliest dropped and another sorted in; -inf changes nothing.

    Slot j of the new ones is max(slot j, min(slot j + 1, end)).
    """

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        completions, end_s = args[0], _splat(builder, args[1])
        following = ir.Constant(ir.VectorType(_INT32, LANES), list(range(1, LANES + 1)))
        for block in range(pool.num_blocks):
            here = builder.extract_value(args[0], block)
            last = block + 1 == pool.num_blocks
            right = _NEVER if last else builder.extract_value(args[0], block + 1)
            shifted = builder.shuffle_vector(here, right, following)
            smaller = builder.select(builder.fcmp_ordered("<", shifted, end_s), shifted, end_s)
            completions = builder.insert_value(completions, _larger(builder, here, smaller), block)
        return completions

    return pool(pool, end_s), build


def _larger(builder: Any, left: Any, right: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", left, right), left, right)


def _splat(builder: Any, value: Any) -> Any:
    """Copy a number into every element of a vector."""
    undefined = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_INT32, 0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES))
