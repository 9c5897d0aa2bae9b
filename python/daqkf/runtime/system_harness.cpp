// Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Drives a verilated daqkf_system that has a queue, as a host and its external memory. Usage:
//
//   harness SEED STALLS LIMIT MEMORY BASE SCRIPT CONTENT RESULT
//
// CONTENT is what the memory has from the address BASE on, and RESULT gets what it has in the end. STALLS,
// out of 1000, is how often each channel of memory pauses; LIMIT is how many cycles may pass without
// a transfer while the host waits. MEMORY is COUNT,LATENCY,BEATS,CYCLES,INTERVAL,PAUSE: there are so
// many channels of memory, which m_axi0, m_axi1, … and then m_axi_data have in turns; the others
// are those of harness.cpp. SCRIPT says what the host does, a line for each:
//
//   write ADDRESS WORD    writes a register
//   read ADDRESS          reads a register, and prints its word
//   interrupt             waits for the interrupt, and prints the cycles that it took, and the bytes
//                         that memory has read on m_axi0, m_axi1, …, read on m_axi_data, and written
//   wait CYCLES           lets time pass
//   poke ADDRESS WORD     writes 32 bits of memory
//   faults FIRST COUNT    so many bytes of memory are answered with an error from now on
//   dead FLAG             whether memory answers nothing from now on
//
// If SCRIPT is -, the host is somebody at the other end of the standard streams, who gets answers at once and
// may also say:
//
//   store ADDRESS COUNT   writes so many bytes, which follow the line, to memory
//   load ADDRESS COUNT    gives as many bytes of memory
//   until CYCLES          waits for the interrupt, for so long at most, and prints whether it is there
//
// If RESULT is -, it is not written. Exit codes: 0 done, 3 nothing moves, or the protocol is broken.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <iostream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "Vdaqkf_system.h"
#include "external_memory.h"
#include "verilated.h"

namespace {

// What the ports do that an array has; for others, nothing.
#define PORT(N)                                                                                    \
  template <typename Top>                                                                          \
  auto offer##N(Top &top, ReadPort &port, bool go, int)->decltype(bool(top.m_axi##N##_rready)) {   \
    bool last = false;                                                                             \
    port.offer(top.m_axi##N##_rdata, top.m_axi##N##_rvalid, top.m_axi##N##_rresp, last,            \
               top.m_axi##N##_arready, go);                                                        \
    return true;                                                                                   \
  }                                                                                                \
  template <typename Top> bool offer##N(Top &, ReadPort &, bool, long) { return false; }           \
  template <typename Top>                                                                          \
  auto take##N(Top &top, ReadPort &port, int)->decltype(bool(top.m_axi##N##_rready)) {             \
    return port.take(top.m_axi##N##_arvalid, top.m_axi##N##_arready, top.m_axi##N##_araddr,        \
                     top.m_axi##N##_arlen + 1u, top.m_axi##N##_rready,                             \
                     sizeof(top.m_axi##N##_rdata));                                                \
  }                                                                                                \
  template <typename Top> bool take##N(Top &, ReadPort &, long) { return false; }
#define PORTS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
PORTS(PORT)

// How many of them there are: their inputs are numbered from 0 on.
#define COUNT(N)                                                                                   \
  template <typename Top>                                                                          \
  auto has##N(int)->decltype(bool(std::declval<Top &>().m_axi##N##_rready)) {               \
    return true;                                                                                   \
  }                                                                                                \
  template <typename Top> bool has##N(long) { return false; }
PORTS(COUNT)

struct Bench {
  VerilatedContext context;
  std::unique_ptr<Vdaqkf_system> top;
  std::mt19937 random;
  unsigned stalls = 0;
  uint64_t limit = 0, cycles = 0, idle = 0;
  Content content;
  Faults faults;
  std::deque<Channel> channels;
  std::deque<ReadPort> reads;
  std::unique_ptr<ReadPort> dataReads;
  std::unique_ptr<WritePort> dataWrites;

  bool go() { return random() % 1000 >= stalls; }

  void connect(const Timing &timing, unsigned count) {
    for (unsigned number = 0; number < std::max(count, 1u); ++number)
      channels.emplace_back(timing);
    unsigned ports = 0;
#define NUMBER(N) ports += has##N<Vdaqkf_system>(0);
    PORTS(NUMBER)
    for (unsigned port = 0; port < ports; ++port)
      reads.emplace_back(channels[port % channels.size()], content, faults);
    Channel &own = channels[ports % channels.size()];
    dataReads = std::make_unique<ReadPort>(own, content, faults);
    dataWrites = std::make_unique<WritePort>(own, content, faults);
  }

  // One cycle: offer, look at the handshakes, clock. Whether the circuit and memory did something.
  void cycle() {
    for (Channel &channel : channels)
      channel.begin();
    // Who is first in a channel changes from cycle to cycle.
    if (cycles & 1)
      offerData();
#define OFFER(N)                                                                                   \
  if (N < reads.size())                                                                            \
    offer##N(*top, reads[N], go(), 0);
    PORTS(OFFER)
    if (!(cycles & 1))
      offerData();
    top->eval();
    bool moved = dataReads->take(top->m_axi_data_arvalid, top->m_axi_data_arready,
                                 top->m_axi_data_araddr, top->m_axi_data_arlen + 1u,
                                 true, sizeof(top->m_axi_data_rdata));
    moved |= dataWrites->take(top->m_axi_data_awvalid, top->m_axi_data_awready,
                              top->m_axi_data_awaddr, top->m_axi_data_awlen + 1u,
                              top->m_axi_data_wvalid, top->m_axi_data_wready,
                              &top->m_axi_data_wdata, &top->m_axi_data_wstrb,
                              top->m_axi_data_wlast, true,
                              sizeof(top->m_axi_data_wdata));
#define TAKE(N)                                                                                    \
  if (N < reads.size())                                                                            \
    moved |= take##N(*top, reads[N], 0);
    PORTS(TAKE)
    for (Channel &channel : channels)
      channel.end();
    idle = moved ? 0 : idle + 1;
    ++cycles;
  }

  void offerData() {
    dataReads->offer(top->m_axi_data_rdata, top->m_axi_data_rvalid, top->m_axi_data_rresp,
                     top->m_axi_data_rlast, top->m_axi_data_arready, go());
    dataWrites->offer(top->m_axi_data_awready, top->m_axi_data_wready, top->m_axi_data_bvalid,
                      top->m_axi_data_bresp, go());
  }

  void edge() {
    top->aclk = 1;
    top->eval();
    top->aclk = 0;
    top->eval();
  }

  void step() {
    cycle();
    edge();
  }

  void write(uint64_t address, uint64_t word) {
    top->s_axi_awaddr = address;
    top->s_axi_wdata = word;
    top->s_axi_wstrb = 15;
    top->s_axi_awvalid = top->s_axi_wvalid = top->s_axi_bready = 1;
    for (bool answered = false; !answered;) {
      cycle();
      const bool address = top->s_axi_awready, data = top->s_axi_wready;
      answered = top->s_axi_bvalid;
      if (answered && top->s_axi_bresp != OKAY)
        fail(3, "a register cannot be written");
      edge();
      if (address)
        top->s_axi_awvalid = 0;
      if (data)
        top->s_axi_wvalid = 0;
    }
    top->s_axi_bready = 0;
  }

  uint32_t read(uint64_t address) {
    top->s_axi_araddr = address;
    top->s_axi_arvalid = top->s_axi_rready = 1;
    uint32_t word = 0;
    for (bool answered = false; !answered;) {
      cycle();
      const bool taken = top->s_axi_arready;
      answered = top->s_axi_rvalid;
      word = top->s_axi_rdata;
      if (answered && top->s_axi_rresp != OKAY)
        fail(3, "a register cannot be read");
      edge();
      if (taken)
        top->s_axi_arvalid = 0;
    }
    top->s_axi_rready = 0;
    return word;
  }

  // Memory from an address on, which has to have so many bytes.
  uint8_t *memory(uint64_t address, uint64_t count) {
    if (!content.has(address, count))
      fail(1, "there is no such memory");
    return content.at(address);
  }

  void poke(uint64_t address, uint32_t word) {
    std::memcpy(memory(address, sizeof(word)), &word, sizeof(word));
  }

  void interrupt() {
    const uint64_t before = cycles;
    std::vector<uint64_t> moved = bytes();
    idle = 0;
    do {
      step();
      if (idle > limit)
        fail(3, "no transfer in " + std::to_string(limit) + " cycles, and no interrupt");
    } while (!top->irq);
    std::printf("%llu", static_cast<unsigned long long>(cycles - before));
    const std::vector<uint64_t> now = bytes();
    for (size_t number = 0; number < now.size(); ++number)
      std::printf(" %llu", static_cast<unsigned long long>(now[number] - moved[number]));
    std::printf("\n");
  }

  std::vector<uint64_t> bytes() const {
    std::vector<uint64_t> found;
    for (const ReadPort &port : reads)
      found.push_back(port.bytesRead);
    found.push_back(dataReads->bytesRead);
    found.push_back(dataWrites->bytesWritten);
    return found;
  }

  bool until(uint64_t limit) {
    for (uint64_t cycle = 0; cycle < limit && !top->irq; ++cycle)
      step();
    return top->irq;
  }

  void obey(const std::string &line, std::istream &script) {
    std::istringstream words(line);
    std::string what;
    uint64_t first = 0, second = 0;
    words >> what >> std::hex >> first >> second;
    if (what == "write")
      write(first, second);
    else if (what == "read")
      std::printf("%x\n", read(first));
    else if (what == "interrupt")
      interrupt();
    else if (what == "wait")
      for (uint64_t cycle = 0; cycle < first; ++cycle)
        step();
    else if (what == "poke")
      poke(first, uint32_t(second));
    else if (what == "store")
      script.read(reinterpret_cast<char *>(memory(first, second)), std::streamsize(second));
    else if (what == "load")
      std::fwrite(memory(first, second), 1, second, stdout);
    else if (what == "until")
      std::printf("%d\n", until(first));
    else if (what == "faults")
      faults.first = first, faults.count = second;
    else if (what == "dead")
      faults.dead = first;
    else
      fail(1, "unknown command " + what);
  }
};

void writeFile(const char *path, const Bytes &bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char *>(bytes.data()), std::streamsize(bytes.size()));
  if (!file.flush())
    fail(1, std::string("cannot write ") + path);
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 9)
    fail(1, "usage: harness SEED STALLS LIMIT MEMORY BASE SCRIPT CONTENT RESULT");
  Bench bench;
  // Registers and memories start with random contents: only a reset may make them known.
  bench.context.randReset(2);
  bench.context.randSeed(std::atoi(argv[1]) + 1);
  bench.random.seed(std::strtoul(argv[1], nullptr, 10));
  bench.stalls = std::strtoul(argv[2], nullptr, 10);
  bench.limit = std::strtoull(argv[3], nullptr, 10);
  bench.top = std::make_unique<Vdaqkf_system>(&bench.context);
  bench.content = {readFile(argv[7]), std::strtoull(argv[5], nullptr, 10)};
  Timing timing;
  const unsigned count = timing.read(argv[4]);
  bench.connect(timing, count);

  Vdaqkf_system &top = *bench.top;
  top.aclk = top.aresetn = 0;
  top.s_axi_awvalid = top.s_axi_wvalid = top.s_axi_bready = 0;
  top.s_axi_arvalid = top.s_axi_rready = 0;
  top.eval();
  for (int i = 0; i < 4; ++i)
    bench.edge();
  top.aresetn = 1;

  const bool live = std::string(argv[6]) == "-";
  std::ifstream file;
  if (!live)
    file.open(argv[6]);
  std::istream &script = live ? std::cin : file;
  for (std::string line; std::getline(script, line);) {
    bench.obey(line, script);
    if (live)
      std::fflush(stdout);
  }
  if (std::string(argv[8]) != "-")
    writeFile(argv[8], bench.content.bytes);
  top.final();
  return 0;
}
