"""Divides operations among devices along the batch, and sums the gradients of weights over the devices.

A program calls an operation with the whole batch, on one device or with arrays that are sharded over several
(`NamedSharding`). With `custom_partitioning`, XLA divides the operation. Without it, XLA would gather the whole batch
on every device. Inside `jax.shard_map` each device already has its part of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

__all__ = ["WEIGHTS", "batch_axis", "marked_varying", "partitioned", "same_varying_axes", "varying_axes"]

WEIGHTS = ("kernel", "recurrent_kernel", "bias", "embeddings")

_Ranks: TypeAlias = "Mapping[str, int]"


def batch_axis(name: str) -> int | None:
    """The batch axis of an array or a gradient; None for weights, which have none."""
    if name.removeprefix("d") in WEIGHTS:
        return None
    return 1 if name in ("dropout_mask", "recurrent_dropout_mask") else 0


def varying_axes(arrays: Sequence[Any]) -> frozenset[str]:
    """The axes of a mesh along which arrays differ between devices inside `jax.shard_map`."""
    if not hasattr(jax, "typeof"):
        return frozenset()
    types = [jax.typeof(array) for array in arrays]
    # The second attribute is that of JAX before 0.10.
    return frozenset().union(*(one.mat.varying if hasattr(one, "mat") else getattr(one, "vma", ()) for one in types))


def marked_varying(array: Any, axes: frozenset[str]) -> Any:
    """Marks an array as differing along these axes as well."""
    missing = tuple(sorted(axes - varying_axes([array])))
    if not missing:
        return array
    return jax.lax.pcast(array, missing, to="varying") if hasattr(jax.lax, "pcast") else jax.lax.pvary(array, missing)


def same_varying_axes(arrays: Sequence[Any]) -> list[Any]:
    """Marks all arrays as differing along the same axes; None stays None.

    JAX sums the gradient of an array that was marked here, such as weights, over devices.
    """
    axes = varying_axes([array for array in arrays if array is not None])
    return [array if array is None else marked_varying(array, axes) for array in arrays]


def partitioned(compute: Callable[..., tuple[Any, ...]], arguments: _Ranks, results: _Ranks) -> Any:
    """A function that XLA divides along the batch.

    Args:
        compute: A function of arrays, in the order of `arguments`, which returns arrays in the order of `results`.
        arguments: The rank of each argument, by its name.
        results: The rank of each result, by its name.

    Returns:
        A function of the same arrays. Its results equal those of `compute` for the whole batch. Gradients of weights
        are summed over devices.
    """

    def specs_of(shapes: _Ranks, axes: Any) -> list[PartitionSpec]:
        specs = []
        for name, rank in shapes.items():
            batch = batch_axis(name)
            specs.append(PartitionSpec(*(axes if axis == batch else None for axis in range(rank))))
        return specs

    def axes_of(mesh: Any, arg_shapes: Sequence[Any]) -> Any:
        """The axes of the mesh that the batch is divided along; None if the devices' parts would not be equal.

        XLA would pad a smaller part, and the padded rows would count in the gradients of weights.
        """
        for name, shape in zip(arguments, arg_shapes, strict=True):
            batch = batch_axis(name)
            spec = getattr(shape.sharding, "spec", ())
            if batch is not None and len(spec) > batch and spec[batch] is not None:
                axes = spec[batch] if isinstance(spec[batch], tuple) else (spec[batch],)
                devices = math.prod(mesh.shape[axis] for axis in axes)
                return spec[batch] if shape.shape[batch] % devices == 0 else None
        return None

    def shardings(mesh: Any, specs: Sequence[PartitionSpec]) -> tuple[NamedSharding, ...]:
        return tuple(NamedSharding(mesh, spec) for spec in specs)

    def infer_sharding_from_operands(mesh: Any, arg_shapes: Any, _: Any) -> Any:
        return shardings(mesh, specs_of(results, axes_of(mesh, arg_shapes)))

    def partition(mesh: Any, arg_shapes: Any, _: Any) -> Any:
        axes = axes_of(mesh, arg_shapes)

        def lowered(*arrays: Any) -> tuple[Any, ...]:
            own = zip(results, compute(*arrays), strict=True)
            return tuple(
                jax.lax.psum(array, axes) if axes is not None and batch_axis(name) is None else array
                for name, array in own
            )

        return (
            mesh,
            lowered,
            shardings(mesh, specs_of(results, axes)),
            shardings(mesh, specs_of(arguments, axes)),
        )

    divided = custom_partitioning(compute)
    divided.def_partition(
        partition=partition,
        infer_sharding_from_operands=infer_sharding_from_operands,
        sharding_rule=_sharding_rule(arguments, results),
    )
    return divided


def _sharding_rule(arguments: _Ranks, results: _Ranks) -> str:
    """The sharding rule for Shardy: all arrays share the batch axis, and no other axis is divided."""
    factors = iter(range(10_000))

    def side(ranks: _Ranks) -> str:
        return ", ".join(
            " ".join("batch" if axis == batch_axis(name) else f"i{next(factors)}" for axis in range(rank))
            for name, rank in ranks.items()
        )

    return f"{side(arguments)} -> {side(results)}"
