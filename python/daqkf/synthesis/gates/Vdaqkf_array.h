// Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A netlist of LUTs, flip-flops and memories with the face of a verilated array, so that the same
// harness drives it. It counts what every net does. Reads the file DAQKF_GATES_NETLIST, which
// netlist.py writes, and writes DAQKF_GATES_ACTIVITY. One program runs all netlists: building
// a simulator of each with Verilator takes minutes.
//
// Everything starts as zero, as an FPGA does. Signals have no delay, so that a net changes at most
// once a cycle, unless DAQKF_GATES_DELAYS is set: then every gate has one, and what is counted has
// glitches in it. Counting starts with the first offer of activations, when the program has been
// loaded.

#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <vector>

#include "verilated.h"

namespace gates {

using Nets = std::vector<uint32_t>;

// The netlist's file is a sequence of 32-bit words.
class Reader {
  std::vector<uint32_t> words;
  size_t position = 0;

public:
  explicit Reader(const char *path) {
    std::ifstream file(path ? path : "", std::ios::binary | std::ios::ate);
    if (!file)
      std::exit((std::fprintf(stderr, "cannot read the netlist\n"), 1));
    words.resize(size_t(file.tellg()) / 4);
    file.seekg(0).read(reinterpret_cast<char *>(words.data()), std::streamsize(4 * words.size()));
  }
  uint32_t next() { return words.at(position++); }
  Nets list() {
    Nets nets(next());
    for (uint32_t &net : nets)
      net = next();
    return nets;
  }
};

// Combinational, in an order in which every input is known. What `index` means depends on the kind.
struct Gate {
  enum Kind : uint32_t { LUT, SHIFT, MEMORY } kind;
  uint32_t out, index, in[6];
  uint64_t table;
  uint32_t delay; // from any input to the input of whatever reads its output, in picoseconds
};

struct FlipFlop {
  uint32_t q, d, enable, reset, value;
  uint8_t next;
};

struct Shift {
  uint32_t enable, d;
  uint32_t bits;
};

struct ReadPort {
  bool clocked, transparent;
  uint32_t enable, memory;
  Nets address, data;
  uint64_t accesses = 0;
};

struct WritePort {
  Nets address, enable, data;
  uint64_t accesses = 0;
};

struct Memory {
  uint32_t width, size;
  std::vector<uint8_t> bits;
  std::vector<WritePort> writes;
};

} // namespace gates

struct Vdaqkf_array {
  using Row = std::array<uint8_t, 4096>;

  uint8_t clk = 0, rst = 0, prog_tvalid = 0, x_tvalid = 0, y_tready = 0;
  Row prog_tdata = {}, x_tdata = {}, y_tdata = {};
  uint8_t prog_tready = 0, x_tready = 0, y_tvalid = 0, y_tlast = 0;
  uint8_t status_phase = 0, status_error = 0, status_variant = 0;

  explicit Vdaqkf_array(VerilatedContext *) : reader(std::getenv("DAQKF_GATES_NETLIST")) {
    nets.resize(reader.next());
    toggles.resize(nets.size());
    nets[1] = 1;
    for (uint32_t count = reader.next(); count; --count) {
      gates::Gate gate;
      gate.kind = gates::Gate::Kind(reader.next());
      gate.out = reader.next(), gate.index = reader.next();
      for (uint32_t &input : gate.in)
        input = reader.next();
      gate.table = reader.next();
      gate.table |= uint64_t(reader.next()) << 32;
      gate.delay = reader.next();
      logic.push_back(gate);
    }
    for (uint32_t count = reader.next(); count; --count) {
      gates::FlipFlop flop{};
      flop.q = reader.next(), flop.d = reader.next(), flop.enable = reader.next();
      flop.reset = reader.next(), flop.value = reader.next();
      flops.push_back(flop);
    }
    for (uint32_t count = reader.next(); count; --count) {
      gates::Shift shift{};
      shift.enable = reader.next(), shift.d = reader.next();
      shifts.push_back(shift);
    }
    for (uint32_t count = reader.next(); count; --count) {
      gates::Memory memory;
      memory.width = reader.next(), memory.size = reader.next();
      memory.bits.resize(size_t(memory.width) * memory.size);
      for (uint32_t writes = reader.next(); writes; --writes) {
        gates::WritePort port;
        port.address = reader.list(), port.enable = reader.list(), port.data = reader.list();
        memory.writes.push_back(port);
      }
      memories.push_back(memory);
    }
    for (uint32_t count = reader.next(); count; --count) {
      gates::ReadPort port;
      port.clocked = reader.next(), port.transparent = reader.next();
      port.enable = reader.next(), port.memory = reader.next();
      port.address = reader.list(), port.data = reader.list();
      reads.push_back(port);
    }
    for (gates::Nets &port : ports)
      port = reader.list();
    if (std::getenv("DAQKF_GATES_DELAYS"))
      connect();
  }

  size_t programBytes() const { return ports[PROG_TDATA].size() / 8; }

  // The harness looks at outputs only after it has set inputs while the clock is low.
  void eval() {
    if (clk && !last) {
      count();
      tick();
    } else if (!clk && !last) {
      settle();
    }
    last = clk;
  }

  void final() {
    const char *path = std::getenv("DAQKF_GATES_ACTIVITY");
    std::ofstream file(path ? path : "", std::ios::binary);
    const auto put = [&file](uint64_t number) {
      file.write(reinterpret_cast<const char *>(&number), sizeof(number));
    };
    put(cycles);
    for (uint64_t number : toggles)
      put(number);
    for (const gates::ReadPort &port : reads)
      put(port.accesses);
    for (const gates::Memory &memory : memories)
      for (const gates::WritePort &port : memory.writes)
        put(port.accesses);
    if (!file.flush())
      std::exit((std::fprintf(stderr, "cannot write the activity\n"), 1));
  }

private:
  // In the order of netlist.py.
  enum Port {
    RST, PROG_TVALID, X_TVALID, Y_TREADY, PROG_TDATA, X_TDATA,
    PROG_TREADY, X_TREADY, Y_TVALID, Y_TLAST, STATUS_PHASE, STATUS_ERROR, STATUS_VARIANT, Y_TDATA,
    PORTS
  };

  gates::Reader reader;
  std::vector<uint8_t> nets, before;
  std::vector<gates::Gate> logic;
  std::vector<gates::FlipFlop> flops;
  std::vector<gates::Shift> shifts;
  std::vector<gates::Memory> memories;
  std::vector<gates::ReadPort> reads;
  std::array<gates::Nets, PORTS> ports;
  std::vector<uint64_t> toggles;
  uint64_t cycles = 0;
  bool counting = false;
  uint8_t last = 0;

  // With delays: the gates that read each net, those that read what no net shows (the contents of
  // memories and shift registers), and the nets that no gate drives.
  std::vector<gates::Nets> readers;
  gates::Nets opaque, sources;
  std::vector<uint8_t> seen;
  // The change of its output that a gate has ahead of it, if the two numbers are equal.
  std::vector<uint64_t> turn, planned;
  std::map<uint64_t, std::vector<std::pair<uint32_t, uint64_t>>> events;

  void drive(Port port, const uint8_t *bytes) {
    for (size_t bit = 0; bit < ports[port].size(); ++bit)
      nets[ports[port][bit]] = bytes[bit / 8] >> (bit % 8) & 1;
  }

  uint32_t number(const gates::Nets &bits) const {
    uint32_t value = 0;
    for (size_t bit = 0; bit < bits.size(); ++bit)
      value |= uint32_t(nets[bits[bit]]) << bit;
    return value;
  }

  void read(const gates::ReadPort &port) {
    const gates::Memory &memory = memories[port.memory];
    const uint32_t address = number(port.address);
    for (size_t bit = 0; bit < port.data.size(); ++bit)
      nets[port.data[bit]] =
          address < memory.size ? memory.bits[size_t(address) * memory.width + bit] : 0;
  }

  uint8_t output(const gates::Gate &gate) const {
    const uint32_t *in = gate.in;
    const unsigned index = nets[in[0]] | nets[in[1]] << 1 | nets[in[2]] << 2 | nets[in[3]] << 3 |
                           nets[in[4]] << 4 | nets[in[5]] << 5;
    return (gate.kind == gates::Gate::LUT ? gate.table : shifts[gate.index].bits) >> index & 1;
  }

  void settle() {
    drive(RST, &rst);
    drive(PROG_TVALID, &prog_tvalid);
    drive(X_TVALID, &x_tvalid);
    drive(Y_TREADY, &y_tready);
    drive(PROG_TDATA, prog_tdata.data());
    drive(X_TDATA, x_tdata.data());
    if (counting && !readers.empty())
      propagate();
    else
      for (const gates::Gate &gate : logic) {
        if (gate.kind == gates::Gate::MEMORY)
          read(reads[gate.index]);
        else
          nets[gate.out] = output(gate);
      }
    prog_tready = uint8_t(number(ports[PROG_TREADY]));
    x_tready = uint8_t(number(ports[X_TREADY]));
    y_tvalid = uint8_t(number(ports[Y_TVALID]));
    y_tlast = uint8_t(number(ports[Y_TLAST]));
    status_phase = uint8_t(number(ports[STATUS_PHASE]));
    status_error = uint8_t(number(ports[STATUS_ERROR]));
    status_variant = uint8_t(number(ports[STATUS_VARIANT]));
    y_tdata.fill(0);
    for (size_t bit = 0; bit < ports[Y_TDATA].size(); ++bit)
      y_tdata[bit / 8] |= uint8_t(nets[ports[Y_TDATA][bit]] << (bit % 8));
  }

  void connect() {
    readers.resize(nets.size());
    turn.resize(logic.size());
    planned.resize(logic.size());
    std::vector<uint8_t> driven(nets.size());
    for (uint32_t number = 0; number < logic.size(); ++number) {
      const gates::Gate &gate = logic[number];
      const bool memory = gate.kind == gates::Gate::MEMORY;
      if (gate.kind != gates::Gate::LUT)
        opaque.push_back(number);
      for (uint32_t net : memory ? reads[gate.index].data : gates::Nets{gate.out})
        driven[net] = 1;
      const gates::Nets inputs =
          memory ? reads[gate.index].address : gates::Nets(gate.in, gate.in + 6);
      for (uint32_t net : inputs)
        if (net > 1 && (readers[net].empty() || readers[net].back() != number))
          readers[net].push_back(number);
    }
    for (uint32_t net = 2; net < nets.size(); ++net)
      if (!driven[net])
        sources.push_back(net);
  }

  // Everything that a clock edge or the harness has changed reaches the gates at time 0.
  void propagate() {
    for (uint32_t net : sources)
      if (nets[net] != seen[net]) {
        seen[net] = nets[net];
        ++toggles[net];
        wake(net, 0);
      }
    for (uint32_t number : opaque)
      look(number, 0);
    while (!events.empty()) {
      const uint64_t now = events.begin()->first;
      const auto due = std::move(events.begin()->second);
      events.erase(events.begin());
      for (const auto &[number, which] : due)
        if (turn[number] == which && planned[number]) {
          planned[number] = 0;
          change(number, now);
        }
    }
    seen = nets;
  }

  void wake(uint32_t net, uint64_t now) {
    for (uint32_t number : readers[net])
      look(number, now);
  }

  // A gate whose output is not what its inputs say changes it a delay later, unless they have
  // changed again by then: pulses that are shorter than a gate's delay do not pass it.
  void look(uint32_t number, uint64_t now) {
    const gates::Gate &gate = logic[number];
    const bool differs = gate.kind == gates::Gate::MEMORY ? stale(reads[gate.index])
                                                          : output(gate) != nets[gate.out];
    if (differs == bool(planned[number]))
      return;
    planned[number] = differs;
    ++turn[number];
    if (differs)
      events[now + gate.delay].emplace_back(number, turn[number]);
  }

  void change(uint32_t number, uint64_t now) {
    const gates::Gate &gate = logic[number];
    if (gate.kind != gates::Gate::MEMORY) {
      nets[gate.out] ^= 1;
      ++toggles[gate.out];
      wake(gate.out, now);
      return;
    }
    const gates::Nets &data = reads[gate.index].data;
    std::vector<uint8_t> old;
    for (uint32_t net : data)
      old.push_back(nets[net]);
    read(reads[gate.index]);
    for (size_t bit = 0; bit < data.size(); ++bit)
      if (nets[data[bit]] != old[bit]) {
        ++toggles[data[bit]];
        wake(data[bit], now);
      }
  }

  bool stale(const gates::ReadPort &port) const {
    const gates::Memory &memory = memories[port.memory];
    const uint32_t address = number(port.address);
    for (size_t bit = 0; bit < port.data.size(); ++bit)
      if (nets[port.data[bit]] !=
          (address < memory.size ? memory.bits[size_t(address) * memory.width + bit] : 0))
        return true;
    return false;
  }

  void count() {
    if (counting) {
      ++cycles;
      if (readers.empty())
        for (size_t net = 0; net < nets.size(); ++net)
          toggles[net] += nets[net] ^ before[net];
    }
    counting |= x_tvalid != 0;
    if (counting)
      before = nets;
    if (seen.empty() && counting)
      seen = nets;
  }

  void tick() {
    for (gates::FlipFlop &flop : flops)
      flop.next = nets[flop.reset]    ? uint8_t(flop.value)
                  : nets[flop.enable] ? nets[flop.d]
                                      : nets[flop.q];
    for (gates::Shift &shift : shifts)
      if (nets[shift.enable])
        shift.bits = shift.bits << 1 | nets[shift.d];
    // What a port reads becomes visible only after everything has seen what it read before.
    std::vector<std::vector<uint8_t>> words(reads.size());
    fetch(words, false);
    for (gates::Memory &memory : memories)
      for (gates::WritePort &port : memory.writes)
        write(memory, port);
    fetch(words, true);
    for (size_t number = 0; number < reads.size(); ++number)
      for (size_t bit = 0; bit < words[number].size(); ++bit)
        nets[reads[number].data[bit]] = words[number][bit];
    for (const gates::FlipFlop &flop : flops)
      nets[flop.q] = flop.next;
  }

  void fetch(std::vector<std::vector<uint8_t>> &words, bool transparent) {
    for (size_t index = 0; index < reads.size(); ++index) {
      gates::ReadPort &port = reads[index];
      if (port.transparent != transparent || !nets[port.enable])
        continue;
      port.accesses += counting;
      if (!port.clocked)
        continue;
      const gates::Memory &memory = memories[port.memory];
      const uint32_t address = number(port.address);
      words[index].assign(port.data.size(), 0);
      if (address < memory.size)
        for (size_t bit = 0; bit < port.data.size(); ++bit)
          words[index][bit] = memory.bits[size_t(address) * memory.width + bit];
    }
  }

  void write(gates::Memory &memory, gates::WritePort &port) {
    const uint32_t address = number(port.address);
    bool wrote = false;
    for (size_t bit = 0; bit < port.data.size(); ++bit) {
      if (!nets[port.enable[bit]])
        continue;
      wrote = true;
      if (address < memory.size)
        memory.bits[size_t(address) * memory.width + bit] = nets[port.data[bit]];
    }
    port.accesses += counting && wrote;
  }
};
