"""Products of two operands, whatever call makes them: by letters, as einsum writes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from torch import fx

from calibration.importing.builder import Builder, is_activation, precision_of, source_line
from calibration.importing.pointwise import call_name, elementwise
from calibration.importing.values import AnyValue, Constant, Index, Pairs, Result, Value
from perfmodel.domain import operators as ops
from perfmodel.domain.model import ELEMENT_BYTES
from perfmodel.domain.tensor_operators import Elementwise
from perfmodel.errors import InputError

Letters = tuple[int, ...]
"""A letter for each dimension; equal letters, equal dimension."""


@dataclass(frozen=True, slots=True)
class Contraction:
    """left x right -> out; `sizes` are those of the example."""

    left: Letters
    right: Letters
    out: Letters
    sizes: Mapping[int, int]

    def swapped(self) -> Contraction:
        """The same product with its sides exchanged."""
        return Contraction(self.right, self.left, self.out, self.sizes)


def of_matmul(left: tuple[int, ...], right: tuple[int, ...]) -> Contraction:
    """Matrices in the last two dimensions, what lies before them repeated where it is 1; or vectors.

    Examples
    --------
    >>> of_matmul((8, 1, 1, 16), (4, 16, 32)).out == (0, 1, 2, 3)
    True
    """
    letters = count()
    sizes: dict[int, int] = {}
    batch: list[int] = []
    sides: tuple[list[int], list[int]] = ([], [])
    before = (left[:-2], right[:-2])
    longest = max(map(len, before))
    for position in range(-longest, 0):
        letter = next(letters)
        batch.append(letter)
        here = [side[position] if len(side) >= -position else 1 for side in before]
        sizes[letter] = max(here)
        for letters_of_side, size in zip(sides, here, strict=True):
            if size == max(here):
                letters_of_side.append(letter)
    rows, inner, outer = next(letters), next(letters), next(letters)
    sizes |= {inner: left[-1]}
    out = [*batch]
    if len(left) > 1:
        sizes[rows] = left[-2]
        sides[0].append(rows)
        out.append(rows)
    sides[0].append(inner)
    sides[1].append(inner)
    if len(right) > 1:
        sizes[outer] = right[-1]
        sides[1].append(outer)
        out.append(outer)
    return Contraction(tuple(sides[0]), tuple(sides[1]), tuple(out), sizes)


def of_tensordot(
    left: tuple[int, ...], right: tuple[int, ...], left_dims: list[int], right_dims: list[int]
) -> Contraction:
    """Dimensions that meet are summed over; all others stay, the left ones first."""
    left_letters = list(range(len(left)))
    right_letters = list(range(len(left), len(left) + len(right)))
    for here, there in zip(left_dims, right_dims, strict=True):
        right_letters[there % len(right)] = left_letters[here % len(left)]
    sizes = dict(zip(left_letters, left, strict=True)) | dict(zip(right_letters, right, strict=True))
    shared = set(left_letters) & set(right_letters)
    out = [letter for letter in (*left_letters, *right_letters) if letter not in shared]
    return Contraction(tuple(left_letters), tuple(right_letters), tuple(out), sizes)


def of_equation(equation: str, shapes: list[tuple[int, ...]]) -> Contraction | None:
    """An einsum of two operands; dots stand for the dimensions that no letter names."""
    inputs, arrow, out = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != 2 or any(len(set(term)) < len(term.replace(".", "")) for term in terms):
        return None
    if not arrow:
        letters = "".join(terms).replace(".", "")
        out = ("..." if "." in inputs else "") + "".join(
            sorted(letter for letter in set(letters) if letters.count(letter) == 1)
        )
    dots = max(len(shape) - len(term.replace("...", "")) for term, shape in zip(terms, shapes, strict=True))
    named = [
        _spelled(term, len(shape) - len(term.replace("...", "")))
        for term, shape in zip(terms, shapes, strict=True)
    ]
    sizes: dict[int, int] = {}
    for term, shape in zip(named, shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    sides = [
        tuple(letter for letter, size in zip(term, shape, strict=True) if size == sizes[letter])
        for term, shape in zip(named, shapes, strict=True)
    ]
    return Contraction(sides[0], sides[1], _spelled(out, dots), sizes)


def _spelled(term: str, dots: int) -> Letters:
    """Letters as numbers; the dots are counted from the right, from -1 down."""
    before, dotted, after = term.partition("...")
    middle = tuple(range(-dots, 0)) if dotted else ()
    return (*map(ord, before), *middle, *map(ord, after))


def contract(node: fx.Node, product: Contraction, left: Any, right: Any, to: Builder) -> AnyValue | None:
    """Write the product down: a layer where one side holds weights, else a product of results."""
    if isinstance(left, Index):
        left = to.as_activation(left)
    if isinstance(right, Index):
        right = to.as_activation(right)
    if isinstance(left, Constant) and isinstance(right, Constant):
        left = to.as_activation(left)  # weights that are made of weights in every pass
    if isinstance(left, Constant):
        product, left, right = product.swapped(), right, left
    if left is None or right is None or not is_activation(left):
        return None
    if (set(product.left) ^ set(product.right)) - set(product.out):
        return None  # a dimension of one side is summed over, and not with the other
    if isinstance(right, Constant) and not right.is_made and (right.is_repeated or not right.items):
        return _layer(node, product, left, right, to)
    if isinstance(right, Constant):
        right = to.as_activation(right)
    if not is_activation(right):
        return None
    return _product(node, product, (left, right), to)


def _layer(node: fx.Node, product: Contraction, x: Value, weight: Constant, to: Builder) -> AnyValue | None:
    shared = set(product.left) & set(product.right)
    groups = _size(product, shared & set(product.out))
    inner = _size(product, shared - set(product.out))
    outer = _size(product, set(product.right) - shared)
    rows, rest = divmod(_size(product, set(product.left) - shared), to.units)
    if rest or not rows:
        return None
    if not shared - set(product.out):
        return elementwise(node, [x, weight], to)  # nothing is summed over: each element times each weight
    return layer(node, x, weight, (groups, rows, inner, outer), to)


def layer(
    node: fx.Node,
    x: Value,
    weight: Constant,
    sizes: tuple[int, int, int, int],
    to: Builder,
    *,
    bias: bool | None = None,
) -> Result:
    """`groups` layers with weights of their own, each over `rows` vectors of `inner` elements.

    `bias`: whether it adds one; by default where its call does.
    """
    if weight.element_bytes == 8:
        where = source_line(node)
        raise InputError(
            f"{where}{': ' * bool(where)}expected weights in fp32, fp16, bf16 or int8, got fp64; "
            "module.float() makes them fp32"
        )
    groups, rows, inner, outer = sizes
    source = to.read(to.part(x, groups * rows * inner), groups * rows, inner)
    fields: dict[str, Any] = {"groups": groups} if groups > 1 else {}
    if to.precision in ("bf16", "fp16") and weight.packed_bias is None:  # autocast, or `weight.to(x.dtype)`
        if weight.element_bytes > ELEMENT_BYTES[to.precision]:
            fields["casts"] = True
        if _reads_wider(node, to):
            source = to.emit(
                Elementwise, "to", f"{source}.to", kind="elementwise", inputs=(source,), function="to"
            ).name
    if bias is None:
        bias = has_bias(node) if weight.packed_bias is None else weight.packed_bias
    if not bias:
        fields["bias"] = False
    result = to.emit(
        ops.Mlp,
        call_name(node),
        to.label(node, weight),
        kind="mlp",
        input=source,
        widths=(inner, outer),
        activation="none",
        **fields,
    )
    to.used(weight, result)
    return result


def with_bias(node: fx.Node, value: Value, bias: Any, to: Builder) -> Value:
    """A product of activations plus a vector of weights that its call adds, where it does."""
    if not isinstance(bias, Constant) or not bias.name:
        return value
    elements = math.prod(bias.shape)
    if value.elements % elements:
        return value
    names = (to.read(value, value.elements // elements, elements), to.read_all(to.learned(bias)))
    return to.emit(Elementwise, "add", to.label(node, bias), kind="elementwise", inputs=names, function="add")


def _reads_wider(node: fx.Node, to: Builder) -> bool:
    """Whether what a layer reads beside its weights is in fp32 where its result is not: it is cast first."""
    read = (argument for argument in node.all_input_nodes if is_activation(to.values.get(argument)))
    return any(precision_of(argument.meta.get("val")) == "fp32" for argument in read)


def has_bias(node: fx.Node) -> bool:
    """Whether a product adds weights of its own: as its bias, or as what `addmm` and its like begin with."""
    schema = getattr(node.target, "_schema", None)
    names = [known.name for known in schema.arguments] if schema else []
    given = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    if "bias" in names:
        return given.get("bias") is not None
    return call_name(node).startswith(_WITH_ADDEND)


_WITH_ADDEND = ("addmm", "addmv", "addbmm", "baddbmm", "lstm_cell", "gru_cell", "rnn_")
"""Calls that add a vector of weights without an argument of that name."""


def _product(node: fx.Node, product: Contraction, sides: tuple[Value, Value], to: Builder) -> AnyValue | None:
    shared, out = set(product.left) & set(product.right), set(product.out)
    sizes = dict(product.sizes)
    if to.scope == "item":
        found = {
            next((letter for letter in letters if sizes[letter] % to.batch_size == 0), None)
            for letters, value in zip((product.left, product.right), sides, strict=True)
            if value.scope == "item"
        }
        if len(found) != 1 or None in found or not found <= out:
            return None  # every item with every other item, or items that are summed over
        (items,) = found
        assert items is not None
        sizes[items] //= to.batch_size
    inner = math.prod(sizes[letter] for letter in shared - out)
    if not shared - out:
        return elementwise(node, sides, to)
    products = math.prod(sizes[letter] for letter in shared & out)
    rows = math.prod(sizes[letter] for letter in set(product.left) - shared)
    outer = math.prod(sizes[letter] for letter in set(product.right) - shared)
    left, right = sides
    if left == right and rows == outer > 1 and products == 1:
        return Pairs(left, rows, inner, to.label(node), to.scope)
    return batched(node, sides, (products, rows, inner, outer), to)


def batched(
    node: fx.Node, sides: tuple[Value, Value], sizes: tuple[int, int, int, int], to: Builder, suffix: str = ""
) -> Value:
    """Products of activations, (rows, inner) x (inner, outer) each; a side that repeats is a view."""
    products, rows, inner, outer = sizes
    left = to.read(_shared(sides[0], products * rows * inner, to), products * rows, inner)
    right = to.read(_shared(sides[1], products * inner * outer, to), products * inner, outer)
    return to.emit(
        ops.BatchMatmul,
        call_name(node),
        f"{to.label(node)}.{suffix}" if suffix else to.label(node),
        kind="batch_matmul",
        left=left,
        right=right,
        inner=inner,
        products=products,
    )


def _shared(value: Value, elements: int, to: Builder) -> Value:
    """A side as the product reads it; what belongs to the query stays the query's, shared by all items."""
    return value if elements == value.elements else to.part(value, elements)


def _size(product: Contraction, letters: set[int]) -> int:
    return math.prod(product.sizes[letter] for letter in letters)
