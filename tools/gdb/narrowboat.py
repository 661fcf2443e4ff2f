"""Goroutines in gdb, of a live process and of a core file.

    (gdb) source tools/gdb/narrowboat.py
    (gdb) info goroutines                 every goroutine that has started: where it waits, and for what
    (gdb) goroutine 7 bt                  any command on the stack of goroutine 7; without one it is `bt`
    (gdb) goroutine all bt 3

Where things lie the runtime has written down in a list of its own (runtime/src/diag/debugger.rs); no description of types is
needed, but the names of symbols are: a stripped program has no goroutines.

How a parked goroutine is shown. Its registers are on its stack, and its stack is either where it runs or, if another goroutine runs there, copied
out to the heap. Frames can be followed only where they were made. So in a live process the registers of the selected thread and, if
need be, the bytes of the stack are put in place for the time of the command, and what was there before is put back after it. A
core file cannot be written to: there the same is done to a copy of it, which a second gdb opens.
"""

import os
import re
import shutil
import struct
import subprocess
import tempfile

import gdb

VERSION = 0x6E620002
UNKNOWN = 2**64 - 1
NAMES = """
    version processors processors_len
    p_thread_pointer p_lender p_current p_slab p_slots
    slab_all chunk_free chunk_records chunk_len
    r_sp r_id r_origin r_image r_home r_reason r_waits_at r_size
    slots_open slot_size slot_base slot_occupant
    extras_tag extras_spawned_at extras_name private_tag private_origin
    vec_ptr vec_len
    line_file line_file_len line_line
    reasons reasons_len
""".split()


def read(address, size):
    return gdb.selected_inferior().read_memory(address, size).tobytes()


def word(address):
    return struct.unpack("<Q", read(address, 8))[0]


def text(address, size):
    return read(address, size).decode(errors="replace").rstrip("\0") if 0 < size < 4096 else ""


def view_place():
    """The address of the list: what the mangled name of the symbol ends with differs from build to build."""
    found = gdb.execute("info variables DEBUGGER_VIEW", to_string=True)
    symbol = re.search(r"^(0x[0-9a-f]+)\s+narrowboat_runtime::diag::debugger::DEBUGGER_VIEW", found, re.M)
    if symbol:
        return int(symbol.group(1), 16)
    # With a description of its type the symbol is listed by its name.
    symbol = re.search(r"narrowboat_runtime::diag::debugger::DEBUGGER_VIEW", found)
    if symbol:
        return int(gdb.parse_and_eval("(unsigned long)&'%s'" % symbol.group()))
    raise gdb.GdbError("this program has no symbol of Narrowboat's: it is another program, or stripped")


class View:
    """The runtime's list, and what can be read by it."""

    def __init__(self):
        place = view_place()
        words = struct.unpack("<%dQ" % len(NAMES), read(place, 8 * len(NAMES)))
        vars(self).update(zip(NAMES, words))
        if self.version == 0:
            raise gdb.GdbError("the runtime has not started")
        if self.version != VERSION or UNKNOWN in words:
            raise gdb.GdbError("this script is for another version of Narrowboat")

    def vector(self, address):
        return word(address + self.vec_ptr), word(address + self.vec_len)

    def line(self, location):
        name = text(word(location + self.line_file), word(location + self.line_file_len))
        return "%s:%d" % (name, struct.unpack("<I", read(location + self.line_line, 4))[0])

    def reason(self, number):
        if number >= self.reasons_len:
            return "?"
        return text(word(self.reasons + 16 * number), word(self.reasons + 16 * number + 8))

    def goroutines(self):
        for index in range(self.processors_len):
            processor = word(self.processors + 8 * index)
            if processor == 0:
                continue
            chunks, count = self.vector(processor + self.p_slab + self.slab_all)
            for at in range(count):
                chunk = word(chunks + 8 * at)
                free = int.from_bytes(read(chunk + self.chunk_free, 16), "little")
                records = chunk + self.chunk_records
                memory = read(records, self.chunk_len * self.r_size)
                for place in range(self.chunk_len):
                    if not free >> place & 1:
                        offset = place * self.r_size
                        yield Goroutine(self, processor, records + offset, memory[offset : offset + self.r_size])


class Goroutine:
    def __init__(self, view, processor, record, memory):
        def field(offset, kind="<Q"):
            return struct.unpack_from(kind, memory, offset)[0]

        self.view, self.processor, self.record = view, processor, record
        self.id, self.sp = field(view.r_id), field(view.r_sp)
        self.origin, self.waits_at = field(view.r_origin), field(view.r_waits_at)
        if self.origin & view.private_tag:
            # Its thread-locals come first, and lead on.
            self.origin = word((self.origin & ~view.private_tag) + view.private_origin)
        self.image = field(view.r_image)
        self.reason = field(view.r_reason, "<B")
        low, high = struct.unpack_from("<HB", memory, view.r_home)
        # The two highest bits: a stack, or a slot, where nothing else runs.
        self.slot = None if high >= 0x40 else low | (high & 0x1F) << 16
        self.runs = word(processor + view.p_current) == record

    def named(self):
        view, name = self.view, ""
        if self.origin & view.extras_tag:
            extras = self.origin & ~view.extras_tag
            arc, size = word(extras + view.extras_name), word(extras + view.extras_name + 8)
            # The string begins behind the two counts of the Arc.
            name = " '%s'" % text(arc + 16, size) if arc else ""
        return "%d%s" % (self.id, name)

    def spawned_at(self):
        view = self.view
        tagged = self.origin & view.extras_tag
        return view.line(word((self.origin & ~view.extras_tag) + view.extras_spawned_at) if tagged else self.origin)

    def place(self):
        """Base and occupant of its slot; None on a stack of its own, where no other runs."""
        if self.slot is None:
            return None
        slots, _ = self.view.vector(self.processor + self.view.p_slots + self.view.slots_open)
        slot = slots + self.slot * self.view.slot_size
        return word(slot + self.view.slot_base), word(slot + self.view.slot_occupant)

    def is_resident(self):
        place = self.place()
        return place is None or place[1] == self.record

    def state(self):
        if self.runs:
            return "runs"
        if self.sp == 0:
            return "has not begun"
        where = "resident" if self.is_resident() else "copied out"
        if self.reason == 0:
            return "ready to run (%s)" % where
        waits = self.view.reason(self.reason)
        return "waiting for %s at %s (%s)" % (waits, self.view.line(self.waits_at), where)

    def registers(self):
        """As they will be when it goes on: see the pictures in mod.rs of each CPU in runtime/src/arch."""
        sp = self.sp if self.is_resident() else self.image
        if is_aarch64():
            x29, pc, x19 = struct.unpack("<3Q", read(sp, 24))
            return {"pc": pc, "x19": x19, "x29": x29, "sp": self.sp + 32}
        rip, rbx, rbp = struct.unpack("<3Q", read(sp, 24))
        return {"rip": rip, "rbx": rbx, "rbp": rbp, "rsp": self.sp + 24}

    def moved(self):
        """What has to be in place for its stack to be there: address and bytes."""
        if self.is_resident():
            return None
        return self.sp, read(self.image, self.place()[0] - self.sp)

    def run(self, command):
        if self.runs:
            return self.on_its_thread(command)
        if self.sp == 0:
            return print("it has not begun")
        core = core_file()
        if core is None:
            in_place(self.registers(), self.moved(), command)
        else:
            in_copy(core, self.registers(), self.moved(), command)

    def on_its_thread(self, command):
        """The thread that has the processor's thread pointer and has not lent it."""
        view = self.view
        pointer = word(self.processor + view.p_thread_pointer)
        lender = struct.unpack("<i", read(self.processor + view.p_lender, 4))[0]
        before, name = gdb.selected_thread(), "$tpidr" if is_aarch64() else "$fs_base"
        try:
            for thread in gdb.selected_inferior().threads():
                thread.switch()
                same = int(gdb.parse_and_eval("(unsigned long)" + name)) == pointer
                # Nailed to its thread a processor has no pointer of its own, and its lender is its worker.
                if (pointer and same and thread.ptid[1] != lender) or (not pointer and thread.ptid[1] == lender):
                    return gdb.execute(command)
            print("its thread was not found")
        finally:
            before.switch()


def is_aarch64():
    return gdb.selected_frame().architecture().name().startswith("aarch64")


def core_file():
    """The path of the core file, or None if there is a process."""
    found = re.search(r"Local core dump file:\s*`([^']*)'", gdb.execute("info target", to_string=True))
    return found.group(1) if found else None


def in_place(registers, moved, command):
    thread, inferior = gdb.selected_thread(), gdb.selected_inferior()
    if thread is None:
        raise gdb.GdbError("there is neither a process nor a core file")
    gdb.newest_frame().select()
    before = {name: int(gdb.parse_and_eval("(unsigned long)$" + name)) for name in registers}
    bytes_before = None
    try:
        if moved:
            bytes_before = read(moved[0], len(moved[1]))
            inferior.write_memory(*moved)
        for name, value in registers.items():
            gdb.execute("set var $%s = %d" % (name, value))
        gdb.execute(command)
    finally:
        thread.switch()
        gdb.newest_frame().select()
        for name, value in before.items():
            gdb.execute("set var $%s = %d" % (name, value))
        if bytes_before is not None:
            inferior.write_memory(moved[0], bytes_before)


def in_copy(core, registers, moved, command):
    handle, copy = tempfile.mkstemp(prefix="goroutine-", suffix=".core")
    os.close(handle)
    try:
        # `cp` leaves holes where there are some.
        if subprocess.call(["cp", "--sparse=always", core, copy]) != 0:
            shutil.copyfile(core, copy)
        with open(copy, "r+b") as file:
            patch(file, registers, moved)
        program = gdb.current_progspace().filename
        mark = "--- of the copy ---"
        arguments = ["gdb", "-nx", "-batch", "-ex", "echo \\n%s\\n" % mark, "-ex", command, program, copy]
        said = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        print(said.stdout.decode(errors="replace").split(mark + "\n")[-1], end="")
    finally:
        os.unlink(copy)


# Where in the note of a thread (`elf_prstatus`) its registers are, in words.
FIRST_REGISTER = 14
REGISTERS = {"rbp": 4, "rbx": 5, "orig_rax": 15, "rip": 16, "rsp": 19}
REGISTERS.update({"x19": 19, "x29": 29, "sp": 31, "pc": 32})
PT_LOAD, PT_NOTE, NT_PRSTATUS = 1, 4, 1


def patch(file, registers, moved):
    """Gives the first thread of a core file these registers, and the memory these bytes."""
    header = file.read(64)
    start, size, count = struct.unpack_from("<Q", header, 32)[0], *struct.unpack_from("<HH", header, 54)
    written = moved is None
    file.seek(start)
    for entry in struct.iter_unpack("<IIQQQQQQ", file.read(size * count)):
        kind, _, offset, address, _, in_file, _, _ = entry
        if kind == PT_NOTE:
            patch_note(file, offset, in_file, registers)
        elif kind == PT_LOAD and moved and address <= moved[0] and moved[0] + len(moved[1]) <= address + in_file:
            file.seek(offset + moved[0] - address)
            file.write(moved[1])
            written = True
    if not written:
        raise gdb.GdbError("the core file lacks the stack on which the goroutine runs")


def patch_note(file, offset, size, registers):
    file.seek(offset)
    notes, at = file.read(size), 0
    while at + 12 <= size:
        name, length, kind = struct.unpack_from("<3I", notes, at)
        contents = at + 12 + (name + 3) // 4 * 4
        if kind == NT_PRSTATUS:
            # Where there is such a register, the thread is in no system call that would be made again.
            no_call = {} if "pc" in registers else {"orig_rax": UNKNOWN}
            for register, value in {**registers, **no_call}.items():
                file.seek(offset + contents + 8 * (FIRST_REGISTER + REGISTERS[register]))
                file.write(struct.pack("<Q", value))
            return
        at = contents + (length + 3) // 4 * 4
    raise gdb.GdbError("the core file lacks the registers of its threads")


class InC:
    """Expressions here are C, whatever the program is written in."""

    def __enter__(self):
        self.before = gdb.parameter("language")
        gdb.execute("set language c", to_string=True)

    def __exit__(self, *_):
        gdb.execute("set language " + self.before, to_string=True)


class InfoGoroutines(gdb.Command):
    """Every goroutine that has started, with what it waits for and where."""

    def __init__(self):
        super().__init__("info goroutines", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        with InC():
            for goroutine in View().goroutines():
                print("%s: %s, spawned at %s" % (goroutine.named(), goroutine.state(), goroutine.spawned_at()))


class GoroutineCommand(gdb.Command):
    """goroutine ID|all [COMMAND]: runs a command, or `bt`, on the stack of a goroutine."""

    def __init__(self):
        super().__init__("goroutine", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        which, _, command = argument.strip().partition(" ")
        if which != "all" and not which.isdigit():
            raise gdb.GdbError("goroutine ID|all [COMMAND]; `info goroutines` lists them")
        with InC():
            chosen = [g for g in View().goroutines() if which == "all" or g.id == int(which)]
            if not chosen:
                raise gdb.GdbError("there is no goroutine " + which)
            for goroutine in chosen:
                if which == "all":
                    print("\ngoroutine %s: %s" % (goroutine.named(), goroutine.state()))
                goroutine.run(command or "bt")


InfoGoroutines()
GoroutineCommand()
