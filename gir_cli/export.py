"""A network for other runtimes: PyTorch's exported programs (.pt2) and ONNX, with batch, height and width left open."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from gir_cli.errors import GirError, UsageError
from gir_cli.models import Description
from gir_cli.weights import Model

Form = Literal["pt2", "onnx"]
NEEDED = ("onnx", "onnxscript", "onnxruntime")  # for ONNX
LEAST = 2  # multiples of a side; torch takes a size of one for a constant
AGREEMENT = 1e-4  # of the largest value, by which a file's results may differ from the network's
NAMES = ("image", "sigma")


def check_form(form: Form) -> None:
    """Raise UsageError if a package that `form` needs is not installed."""
    missing = [name for name in NEEDED if not find_spec(name)] if form == "onnx" else []
    if missing:
        raise UsageError(f"ONNX needs {', '.join(missing)}: pip install {' '.join(NEEDED)}")


def exported(model: Model, form: Form) -> bytes:
    """Return `model` as the bytes of a `form` file, whose results were compared with the network's.

    It maps `image` (N, C, H, W) to `restored` (N, C, H · scale, W · scale), not clamped, for the sizes that
    its record says: in the key `gir` of an ONNX file's metadata, in extra/gir of a .pt2 archive. Networks
    that are told the noise take `sigma` (N, 1, 1, 1) too. GirError if torch cannot export the network, or
    if the results differ.
    """
    record = json.dumps({**model.record, "weights": model.digest, "takes": takes(model.description)})
    try:
        with quietly(), torch.no_grad():
            program = torch.export.export(
                model.network, examples(model.description, 2, 2, 3), dynamic_shapes=sizes(model.description)
            )
            data = _WRITERS[form](program, record, model.description)
            difference = _difference(model, _READERS[form](data))
    except Exception as error:  # torch and onnx raise dozens of types
        said = " ".join(str(error).split())[:200]
        raise GirError(f"{model.record['model']} cannot be exported as {form} ({said})") from None
    if not difference <= AGREEMENT:
        raise GirError(f"{model.record['model']} as {form} gives other results, by {difference:.1g} of the largest")
    return data


def takes(description: Description) -> dict[str, Any]:
    """Return what a caller of an exported network must know, as JSON values."""
    return {
        "image": f"float32 (N, {description.channels}, H, W), sRGB, 0 to 1",
        "sigma": "float32 (N, 1, 1, 1), the noise's standard deviation, 0 to 1" if description.noise_level else None,
        "multiple": description.multiple,
        "minimum": LEAST * description.multiple,
        "square": description.square,
        "padding": description.padding,
    }


def sizes(description: Description) -> tuple[dict[int, Any], ...]:
    """Return the axes of the network's inputs that are left open."""
    batch, height, width = Dim("batch", min=1), Dim("height", min=LEAST), Dim("width", min=LEAST)
    across = height if description.square else width
    image = {0: batch, 2: description.multiple * height, 3: description.multiple * across}
    return (image, {0: batch}) if description.noise_level else (image,)


def examples(description: Description, number: int, high: int, wide: int) -> tuple[Tensor, ...]:
    """Return random inputs of the network: `number` images of `high` by `wide` multiples."""
    random = torch.Generator().manual_seed(high)
    height, width = high * description.multiple, (high if description.square else wide) * description.multiple
    image = torch.rand(number, description.channels, height, width, generator=random)
    sigma = torch.rand(number, 1, 1, 1, generator=random)
    return (image, sigma) if description.noise_level else (image,)


def _difference(model: Model, run: Any) -> float:
    """Return how far `run` is from the network on inputs of another size than those it was exported with."""
    inputs = examples(model.description, 1, 4, 3)
    expected = model.network(*inputs)
    return float((run(*inputs) - expected).abs().max() / expected.abs().max().clamp(min=1))


def _written_pt2(program: ExportedProgram, record: str, description: Description) -> bytes:
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"gir": record})
    return file.getvalue()


def _written_onnx(program: ExportedProgram, record: str, description: Description) -> bytes:
    names = NAMES[: 2 if description.noise_level else 1]
    made = torch.onnx.export(
        program,
        dynamo=True,
        verbose=False,
        input_names=names,
        output_names=("restored",),
        dynamic_shapes=sizes(description),
    )
    made.model.metadata_props["gir"] = record
    return made.model_proto.SerializeToString()


def _read_pt2(data: bytes) -> Any:
    return torch.export.load(io.BytesIO(data)).module()


def _read_onnx(data: bytes) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def run(*inputs: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: x.numpy() for name, x in zip(NAMES, inputs, strict=False)})[0])

    return run


_WRITERS = {"pt2": _written_pt2, "onnx": _written_onnx}
_READERS = {"pt2": _read_pt2, "onnx": _read_onnx}


@contextmanager
def quietly() -> Iterator[None]:
    """Keep torch's remarks on its own workings to itself."""
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
