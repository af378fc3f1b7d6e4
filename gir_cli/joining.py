"""Weights made of others': blended, grafted, put side by side, taken out, or grown."""

from __future__ import annotations

import copy
import dataclasses
import fnmatch
from collections.abc import Iterable

from torch import Tensor

from gir_cli.checkpoints import shapes
from gir_cli.errors import UsageError, WeightsError
from gir_cli.growth import grow
from gir_cli.layouts import difference, read_config
from gir_cli.models.girnet import Girnet
from gir_cli.weights import Model, built, config_of

#: What a record says of how a network came to be and what it scored, which is not so of what is made of it.
MADE = ("train", "scores", "blend", "graft", "expert")


def blended(model: Model, other: Model, share: float) -> Model:
    """Return `model` with the values (1 - share) · its own + share · the `other` one's; WeightsError if unlike.

    Network interpolation (Wang et al., 2019, Eq. 1). The record has both digests, as parents, and their
    shares, and neither one's training or scores.
    """
    mine, theirs = model.network.state_dict(), other.network.state_dict()
    alike = [(each.record["model"], config_of(each.network)) for each in (model, other)]
    if alike[0] != alike[1]:
        raise WeightsError("weights of different networks cannot be blended")
    network = copy.deepcopy(model.network)
    floats = {name: value for name, value in mine.items() if value.is_floating_point()}
    network.load_state_dict({**mine, **{name: value.lerp(theirs[name], share) for name, value in floats.items()}})
    kept = {key: value for key, value in model.record.items() if key not in MADE}
    parents = {"parents": [model.digest, other.digest], "blend": [1 - share, share]}
    return Model(network, {**kept, "license": _terms(model, other), **parents})


def grafted(model: Model, other: Model, parts: str) -> Model:
    """Return `model` with the parameters of `other` that `parts` names (comma-separated patterns) for its own.

    The network is as `model` is configured, or as `other` is where what is taken is not in `model`, such as a
    toner. The record is that of `model`, without its scores, and says what was grafted and how that came to be.
    WeightsError if it does not fit, UsageError if nothing is named so.
    """
    mine, theirs = model.network.state_dict(), other.network.state_dict()
    if model.record["model"] != other.record["model"]:
        raise WeightsError(f"a {other.record['model']} cannot be grafted on a {model.record['model']}")
    taken: set[str] = set()
    for pattern in parts.split(","):
        if not (named := {name for name in theirs if fnmatch.fnmatchcase(name, pattern)}):
            raise UsageError(f"'{pattern}' names no parameter of the {other.record['model']} to graft")
        taken |= named
    host = model if taken <= mine.keys() else other
    tensors = {
        name: theirs[name] if name in taken else mine[name]
        for name in host.network.state_dict()
        if name in taken or name in mine
    }
    if wrong := difference(shapes(host.network.state_dict()), shapes(tensors)):
        raise WeightsError(f"the parts do not make one network: {wrong}")
    network = copy.deepcopy(host.network)
    network.load_state_dict(tensors)
    kept = {key: value for key, value in model.record.items() if key != "scores"}
    made = {key: other.record[key] for key in ("train", "parents", "blend", "graft") if key in other.record}
    graft = {"parts": parts, "sha256": other.digest, **made}
    changed = {"config": host.record["config"], "license": _terms(model, other), "graft": graft}
    return Model(network, {**kept, **changed})


def beside(model: Model, other: Model) -> Model:
    """Return a girnet with the U-Nets of `model` and of the `other` as experts, a gate that is to be trained, and
    the toner of `model`.

    A mixture of experts (Jacobs et al., 1991): the new gate gives each the same share. The record has both digests,
    as parents, and neither one's training or scores. WeightsError if they do not go together.
    """
    networks = model.network, other.network
    if any(not isinstance(network, Girnet) for network in networks):
        raise WeightsError("only a girnet can have another beside it")
    one = [network.config.unet for network in networks]
    if one[0] != one[1]:
        raise WeightsError("experts must be of the same sizes")
    unets = [unet for network in networks for unet in _unets(network, one[0].tensors())]
    made = Girnet(dataclasses.replace(model.network.config, experts=len(unets)))
    toner = {name: value for name, value in model.network.state_dict().items() if name.startswith("toner.")}
    experts = {
        f"others.{number}.{name}": value for number, unet in enumerate(unets[1:]) for name, value in unet.items()
    }
    made.load_state_dict({**made.state_dict(), **toner, **unets[0], **experts})
    kept = {key: value for key, value in model.record.items() if key not in MADE}
    parents = {"parents": [model.digest, other.digest]}
    return Model(made.eval(), {**kept, "config": config_of(made), "license": _terms(model, other), **parents})


def alone(model: Model, number: int) -> Model:
    """Return a girnet that is the expert `number`, from 1, of `model`, without gate and toner.

    The record has the digest of `model` as its parent, and neither its training nor its scores. WeightsError if
    `model` has no such expert.
    """
    network = model.network
    if not isinstance(network, Girnet):
        raise WeightsError("only a girnet has experts")
    if number > network.config.experts:
        raise WeightsError(f"there is no expert {number} of {network.config.experts}")
    config = network.config.unet
    made = Girnet(config)
    made.load_state_dict(_unets(network, config.tensors())[number - 1])
    kept = {key: value for key, value in model.record.items() if key not in MADE}
    parents = {"parents": [model.digest], "expert": number}
    return Model(made.eval(), {**kept, "config": config_of(made), **parents})


def grown(model: Model, settings: str) -> Model:
    """Return a larger network, of the configuration of `model` but for the `settings`, that does the same as `model`.

    Net2Net (Chen et al., 2016): what it has more of does nothing until it is trained. The record has the digest of
    `model` as its parent, and neither its training nor its scores. UsageError if the two would not do the same.
    """
    name = model.record["model"]
    network = built(name, config_of(model.network) | read_config(name, settings)).eval()
    grow(network, model.network)
    kept = {key: value for key, value in model.record.items() if key not in MADE}
    return Model(network, {**kept, "config": config_of(network), "parents": [model.digest]})


def _unets(network: Girnet, names: Iterable[str]) -> list[dict[str, Tensor]]:
    """Return the tensors of each of a network's U-Nets, by their `names` there."""
    tensors = network.state_dict()
    places = ["", *(f"others.{number}." for number in range(network.config.experts - 1))]
    return [{name: tensors[place + name] for name in names} for place in places]


def _terms(*models: Model) -> str:
    """Return the licences of `models`, each once."""
    return " and ".join(dict.fromkeys(filter(None, (model.record.get("license") for model in models))))
