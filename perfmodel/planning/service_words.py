"""What is in the service times, in words: the second line of every answer."""

from __future__ import annotations

from dataclasses import replace

from perfmodel.costmodel.kernels import Floats
from perfmodel.costmodel.service_time import BatchTime
from perfmodel.domain.hardware import Device
from perfmodel.planning.node import ServingNode
from perfmodel.planning.request_mix import request_mix
from perfmodel.sim.policies import Policy
from perfmodel.sim.query_sizes import SizePmf

WORTH_SAYING = 0.005
"""Share of the time from which the conversion of inputs is mentioned. [1]"""
EDITED = "edited by hand since it was fitted: an extrapolation, off by a factor of 1.5 either way"


def service_times_of(node: ServingNode, policy: Policy, sizes: SizePmf) -> str:
    """Say whose software's times a node's are, and how much of a core's time its input conversion takes."""
    mix = request_mix(policy, sizes, workers=node.threads * node.num_workers)
    card = node.accelerator
    # Only a stack that all devices have can be named.
    cpu = node.cpu if card is None else replace(node.cpu, without_input=None)
    if mix is None:
        said = device_words(cpu, None, option="--set node.stack=")
    else:
        time = node.cpu_time(mix.batch_size, 1 if node.cpu.surfaces else node.cores)
        said = device_words(cpu, input_share(time, mix.share), option="--set node.stack=")
    if card is None:
        return said
    own = "" if card.describes == node.cpu.describes else f": {card.describes}"
    edited = f", {EDITED}" if card.is_edited else ""
    return said + (f"; {card.name}{own}{edited}" if own or edited else "")


def device_words(device: Device, converting: float | None, *, option: str) -> str:
    """Say what is in a device's times.

    Parameters
    ----------
    device : Device
        With its stack.
    converting : float or None
        Share of the time that converting inputs takes; None: not known. [1]
    option : str
        What names another stack on the command line, the stack's name to follow.
    """
    text = device.describes
    if converting is not None and converting >= WORTH_SAYING:
        text += f": {100 * converting:.0f} % of this {'core' if device.kind == 'cpu' else 'card'}'s time"
    if device.without_input is not None:
        text += f"; `{option}{device.without_input}` leaves it out"
    return f"{text}; {device.name} was {EDITED}" if device.is_edited else text


def input_share(time: BatchTime, shares: Floats) -> float:
    """Share of input conversion in the time of a mix of passes, each as often as its share. [1]"""
    return float(shares @ time.family_s("input") / (shares @ time.seconds))
