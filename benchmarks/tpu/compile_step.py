"""Compiles a StableHLO module for a TPU that is not here: the second half of `make tpu-check`.

    python benchmarks/tpu/compile_step.py step.mlir --topology=v3:2x2x1 --replicas=8

Needs jax, jaxlib and libtpu (requirements.txt) and about 6 GB of memory; no TPU, no network.
Prints what the compiler says of memory and work. Exit code 0: the program compiles and fits;
1: refused. With --expect_too_large the other way round: 0 if and only if the compiler says that the
program does not fit.
"""

import argparse
import json
import os
import re
import sys
import time
from pathlib import Path

os.environ.update(
    JAX_PLATFORMS="cpu",
    # Nothing here is a TPU machine, whose metadata server libtpu would ask.
    TPU_SKIP_MDS_QUERY="1",
    TPU_WORKER_HOSTNAMES="localhost",
    TPU_WORKER_ID="0",
    # Only so that it does not ask: the topology that is compiled for decides.
    TPU_ACCELERATOR_TYPE="v3-8",
    # Two checks at a time would otherwise fight for a lock that guards the device.
    ALLOW_MULTIPLE_LIBTPU_LOAD="1",
    TPU_STDERR_LOG_LEVEL="3",
    TPU_MIN_LOG_LEVEL="3",
)

import numpy as np
from jax._src import compiler
from jax._src.interpreters import mlir
from jax._src.lib.mlir import ir
from jax.experimental import topologies
from jaxlib import xla_client

# Memory of a core in GiB that programs can use, as the compiler states when it refuses one.
MEMORY = {"v2": 7.48, "v3": 15.48, "v4": 15.25, "v5e": 15.75}
# Clock in Hz, which the compiler's cycles are divided by.
CLOCK = {"v2": 0.7e9, "v3": 0.94e9, "v4": 1.05e9, "v5e": 1.5e9}
# Paper, Table 3: Slowfast NFNet-F0, SimCLR, 4096 clips on 32 cores of TPU v3.
PAPER_MILLISECONDS = 280.9
_GIB = 2**30


def drop_copies(block) -> None:
    """Takes mhlo.copy out, the identity that TensorFlow puts on updated variables.

    The interface that takes StableHLO refuses this one operation of the older dialect.
    """
    for operation in list(block.operations):
        operation = operation.operation
        for region in operation.regions:
            for inner in region.blocks:
                drop_copies(inner)
        if operation.name == "mhlo.copy":
            operation.results[0].replace_all_uses_with(operation.operands[0])
            operation.erase()


def compile_for(module: Path, topology: str, replicas: int):
    """The executable for `replicas` cores of a topology."""
    devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    if len(devices) < replicas:
        raise SystemExit(f"{topology} has {len(devices)} cores, not {replicas}")
    devices = devices[:replicas]
    with mlir.make_ir_context():
        parsed = ir.Module.parse(module.read_bytes())
        drop_copies(parsed.body)
        options = compiler.get_compile_options(
            num_replicas=replicas,
            num_partitions=1,
            device_assignment=np.array([[device.id] for device in devices]),
        )
        return devices[0].client.compile(
            parsed,
            executable_devices=xla_client.DeviceList(tuple(devices)),
            compile_options=options,
        )


def describe(executable, generation: str) -> dict:
    """What the compiler says of a program."""
    memory, cost = executable.get_compiled_memory_stats(), executable.cost_analysis()
    cost = cost[0] if isinstance(cost, list) else cost
    text = executable.hlo_modules()[0].to_string()
    entry = text[text.find("\nENTRY") :]
    cycles = sum(map(int, re.findall(r'estimated_cycles":"(\d+)"', entry)))
    clock = CLOCK.get(generation)
    # The sum contains -1 second for every operation of unknown time (halves of 64-bit numbers,
    # joined buffers). No step takes a second, so what is left without whole seconds is the time.
    roofline = cost["optimal_seconds"] % 1.0
    return {
        "peak_gib": memory.peak_memory_in_bytes / _GIB,
        "arguments_gib": memory.argument_size_in_bytes / _GIB,
        "aliased_gib": memory.alias_size_in_bytes / _GIB,
        "temporary_gib": memory.temp_size_in_bytes / _GIB,
        "code_gib": memory.generated_code_size_in_bytes / _GIB,
        "gflop": cost["flops"] / 1e9,
        "roofline_ms": 1e3 * roofline,
        "cycles_ms": 1e3 * cycles / clock if clock else None,
        "all_reduces": len(re.findall(r"\ball-reduce(?:-start)?\(", text)),
        "convolutions": len(re.findall(r"\bconvolution\(", text)),
        "loops": len(re.findall(r"\bwhile\(", text)),
    }


def report(found: dict, arguments, seconds: float) -> None:
    """The figures, for people."""
    generation = arguments.topology.split(":")[0]
    available = MEMORY.get(generation)
    cycles = found["cycles_ms"]
    print(
        f"  compiled for {arguments.replicas} cores of {arguments.topology} in {seconds:.0f} s\n"
        f"  peak memory {found['peak_gib']:.2f} GiB"
        + (f" of {available} GiB a core" if available else "")
        + f"\n    arguments {found['arguments_gib']:.2f} (updated in place "
        f"{found['aliased_gib']:.2f}), temporary {found['temporary_gib']:.2f}, "
        f"code {found['code_gib']:.2f}\n"
        f"  {found['all_reduces']} all-reduces, {found['convolutions']} convolutions"
    )
    if found["loops"]:
        # The model counts the body of a loop once.
        print("  no estimate of work and time: there are loops (gradient caching)")
        return
    print(
        f"  {found['gflop']:,.0f} GFLOP a core\n"
        f"  estimated time {found['roofline_ms']:.1f} ms (arithmetic and memory traffic at their "
        "peaks)" + (f", {cycles:.1f} ms (sum of the operations' cycles)" if cycles else "")
    )
    if arguments.paper:
        print(f"    the paper measured {PAPER_MILLISECONDS} ms a step (TPU v3, 32 cores)")
    print(
        "  Both times come from the compiler's cost model, not from a run: nothing was executed,\n"
        "  and input, the wait for other cores and the host are not in them."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", type=Path)
    parser.add_argument("--topology", default="v3:2x2x1")
    parser.add_argument("--replicas", type=int, default=8)
    parser.add_argument("--expect_too_large", action="store_true")
    parser.add_argument("--paper", action="store_true", help="name the paper's time of this step")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()

    started = time.monotonic()
    try:
        executable = compile_for(arguments.module, arguments.topology, arguments.replicas)
    except Exception as error:  # the compiler's refusals have no type of their own
        too_large = "RESOURCE_EXHAUSTED" in str(error)
        reason = re.sub(r"\s+", " ", str(error))[:400]
        print(f"  refused by the compiler after {time.monotonic() - started:.0f} s: {reason}")
        if arguments.expect_too_large and too_large:
            print("  as it should be: this step is too large")
            return 0
        return 1
    seconds = time.monotonic() - started
    found = describe(executable, arguments.topology.split(":")[0])
    report(found, arguments, seconds)
    if arguments.json:
        settings = {"topology": arguments.topology, "replicas": arguments.replicas}
        arguments.json.write_text(
            json.dumps({**settings, "compile_seconds": round(seconds), **found}, indent=2) + "\n"
        )
    if arguments.expect_too_large:
        print("  this step was expected not to fit")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
