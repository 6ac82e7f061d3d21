"""From the LLVM that numba-cuda makes for NVVM to machine code of this processor, in a shared library.

What the GPU has and a processor has not becomes calls of `threads.c`: special registers, barriers, shared memory, and the
instructions of `numbarnn.cuda.ptx`.  NVVM's dialect names what a pointer points to; LLVM's since 17 does not.
"""

import re
import subprocess

from llvmlite import binding

REGISTERS = {
    "tid.x": "thread", "ctaid.x": "block", "ntid.x": "threads", "nctaid.x": "blocks",
    **{f"{name}.{axis}": "zero" for name in ("tid", "ctaid") for axis in "yz"},
    **{f"{name}.{axis}": "one" for name in ("ntid", "nctaid") for axis in "yz"},
}  # fmt: skip
ASSEMBLY = {  # how an instruction begins: (the function for it, its result)
    "ld.global.cg.f32": ("read_float", "float"),
    "ld.global.cg.f64": ("read_double", "double"),
    "ld.relaxed.gpu.global.s64": ("peek", "i64"),
    "ld.acquire.gpu.global.s64": ("acquire", "i64"),
    "red.release.gpu.global.add.u64": ("add_one", "void"),
    "mov.u32 $0, %dynamic_smem_size": ("shared_bytes", "i32"),
    "trap;": ("trap", "void"),
    "barrier.cluster.arrive.release.aligned;": ("arrive_at_cluster", "void"),
    "barrier.cluster.wait.acquire.aligned;": ("wait_for_cluster", "void"),
    "{ .reg .u64 %own; .reg .u32 %place; cvta.to.shared.u64": ("place_in_block", "i32"),
    "st.shared::cluster.f32": ("store_float_there", "void"),
    "st.shared::cluster.f64": ("store_double_there", "void"),
}
BYTES = {"{double, double}": 16, "float": 4, "double": 8, "i64": 8, "i32": 4, "i16": 2, "i8": 1, "i1": 1}
SHARED = re.compile(
    r'^@"(_cudapy_smem_\d+)" = (external |internal )?addrspace\(3\) global \[(\d+) x (\w+|\{double, double\})\].*$', re.M
)
OPENING = {")": "(", "]": "[", "}": "{", ">": "<"}


def _type_before(text, end):
    """Where the type begins that ends before `end`."""
    at = end - 1
    if text[at] in OPENING:
        depth = 0
        while True:
            if text[at] in OPENING:
                depth += 1
            elif text[at] in OPENING.values():
                depth -= 1
                if not depth:
                    return at
            at -= 1
    while at > 0 and (text[at - 1].isalnum() or text[at - 1] in "_."):
        at -= 1
    return at


def opaque(line):
    """A line of LLVM with ``ptr`` for each type of a pointer; what stands in quotes is left alone."""
    quoted = [match.span() for match in re.finditer(r'"[^"]*"', line)]
    hidden = list(line)
    for start, end in quoted:
        hidden[start:end] = "\0" * (end - start)
    hidden, kept = "".join(hidden), iter("".join(line[start:end] for start, end in quoted))
    hidden = hidden.replace(" addrspace(3)*", "*")  # shared memory is as any other
    while (star := hidden.find("*")) >= 0:
        hidden = hidden[: _type_before(hidden, star)] + "ptr" + hidden[star + 1 :]
    return re.sub("\0", lambda _: next(kept), hidden)


def _asm(match):
    result, text, arguments = match[1], match[2], match[3]
    for beginning, (name, kind) in ASSEMBLY.items():
        if text.startswith(beginning):
            assert kind == result, (text, result)
            return f"call {result} @emulated_{name}({arguments})"
    raise NotImplementedError(f"an instruction that threads.c has no function for: {text}")


def _split(parameters):
    """The parameters of a function, which commas part."""
    found, depth = [""], 0
    for letter in parameters:
        depth += (letter in OPENING.values()) - (letter in OPENING)
        if letter == "," and not depth:
            found.append("")
        else:
            found[-1] += letter
    return [part.strip() for part in found if part.strip()]


def _call_by_addresses(text, entry):
    """A function that takes the addresses of a kernel's parameters, and calls it."""
    parameters = re.search(r'^define void @"' + re.escape(entry) + r'"\((.*)\)', text, re.M)[1]
    kinds = [re.sub(r"\s*%.*$", "", part).strip() for part in _split(parameters)]
    lines = ["define void @emulated_entry(ptr %places) {"]
    for i, kind in enumerate(kinds):
        lines.append(f"  %place{i} = getelementptr ptr, ptr %places, i64 {i}")
        lines.append(f"  %at{i} = load ptr, ptr %place{i}")
        lines.append(f"  %value{i} = load {kind}, ptr %at{i}")
    given = ", ".join(f"{kind} %value{i}" for i, kind in enumerate(kinds))
    return "\n".join([*lines, f'  call void @"{entry}"({given})', "  ret void", "}", ""])


class _Module:
    """The texts of a kernel's modules, with one numbering of its shared memory."""

    def __init__(self, texts):
        self.places, self.fixed = {}, 0
        for text in texts:
            for name, external, count, kind in SHARED.findall(text):
                if external.strip() == "external":
                    self.places[name] = None  # dynamic: behind all others
                elif name not in self.places:
                    self.places[name] = self.fixed
                    self.fixed += -(-int(count) * BYTES[kind] // 128) * 128

    def for_host(self, text):
        """A module's text, for this processor."""
        text = re.sub(r"^(target (triple|datalayout)|!nvvm|@\"llvm\.used\").*$", "", SHARED.sub("", text), flags=re.M)
        text = re.sub(r"^(!\d+) = !\{ void \(.*$", r"\1 = !{}", text, flags=re.M)
        text = re.sub(r'^declare .*@"llvm\.nvvm[^"]*".*$', "", text, flags=re.M)
        text = "\n".join(map(opaque, text.splitlines()))
        text = re.sub(
            r'addrspacecast ptr @"(_cudapy_smem_\d+)" to ptr',
            lambda m: f"call ptr @emulated_shared(i64 {self.fixed if self.places[m[1]] is None else self.places[m[1]]})",
            text,
        )
        text = re.sub(r'@"llvm\.nvvm\.read\.ptx\.sreg\.([a-z.]+)"', lambda match: f"@emulated_{REGISTERS[match[1]]}", text)
        text = re.sub(r'@"llvm\.nvvm\.barrier0"', "@emulated_barrier", text)
        text = re.sub(r'@"llvm\.nvvm\.membar\.(gl|cta|sys)"', "@emulated_fence", text)
        text = re.sub(r'call (\w+) asm sideeffect "([^"]*)", "[^"]*"\s*\((.*)\)', _asm, text)
        used = {
            (result, name, ", ".join(part.split()[0] for part in _split(given)))
            for result, name, given in re.findall(r"call (\w+) @(emulated_\w+)\((.*)\)", text)
        }
        declared = "\n".join(sorted(f"declare {result} @{name}({kinds})" for result, name, kinds in used))
        return f'target triple = "{binding.get_default_triple()}"\n{text}\n{declared}\n'


def compile_for_host(texts, entry, path, library):
    """Write a shared library with ``emulated_entry`` to `path`; library: that it is linked to, which has `threads.c`.

    texts: a kernel's modules, the first with the function `entry`.  Returns (bytes of shared memory that the kernel has
    whatever its launch, whether its threads wait for each other).
    """
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    module = _Module(texts)
    host = [module.for_host(text) for text in texts]
    host[0] += _call_by_addresses(host[0], entry)
    whole, *others = map(binding.parse_assembly, host)
    for other in others:
        whole.link_in(other)
    whole.verify()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), opt=2, reloc="pic", codemodel="default"
    )
    passes = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=2))
    passes.getModulePassManager().run(whole, passes)
    objects = f"{path}.o"
    with open(objects, "wb") as file:
        file.write(machine.emit_object(whole))
    subprocess.run(["gcc", "-shared", "-o", path, objects, str(library), "-lm"], check=True)
    return module.fixed, any("@emulated_barrier" in text for text in host)
