// Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Drives a verilated daqkf_array from files. Usage:
//
//   harness LANES SEED STALLS LIMIT OVERLAP WAVEFORM SHOWN MEMORY
//     (PROGRAM X Y TILES BEATS OUTPUTS)...
//
// For each job: streams the words of the file PROGRAM ("-" keeps the last one), then X in BEATS beats,
// of LANES bytes for each feature, and writes TILES tiles of OUTPUTS beats of that size to Y.
// STALLS, out of 1000, is how often each stream pauses; LIMIT is how many cycles may pass
// without a transfer. With OVERLAP 1 a stream goes on to the next job by itself; with 0, a job
// begins after the one before, and its activations after its program; with 2, programs go on by
// themselves, and a job's activations come when the results of the one before have left. The file WAVEFORM ("-" for
// none) shows what happens until SHOWN tiles have left: a cycle takes 10 ns, the clock rises in
// its middle, and inputs change at its beginning. MEMORY says how external memory behaves, or is
// "-" if there is none. It is PORTS,LATENCY,BEATS,CYCLES,INTERVAL,PAUSE: the ports that it is
// behind, the cycles from an address to its first data, how many beats come in how many cycles, how
// often and for how long nothing comes, because memory is refreshed. The files memory0, memory1, …
// have what is behind each port. Prints one line a job: the cycles spent in each of the 8 phases,
// then the variant that each tile took.
// Exit codes: 0 done, 2 the array refused a program, 3 it stopped or broke the protocol.

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "Vdaqkf_array.h"
#include "external_memory.h"
#include "verilated.h"

#if VM_TRACE_FST
#include "verilated_fst_c.h"
#elif VM_TRACE_VCD
#include "verilated_vcd_c.h"
#endif

namespace {

// Rows of up to 64 bits are integers, wider ones arrays of 32-bit words; both little-endian.
template <typename Port> void put(Port &port, const uint8_t *bytes, size_t count) {
  std::memset(&port, 0, sizeof(port));
  std::memcpy(&port, bytes, count);
}

template <typename Port> void get(const Port &port, uint8_t *bytes, size_t count) {
  std::memcpy(bytes, &port, count);
}

// The variant that runs; an array without a SPAQ unit has no such port, and one variant.
template <typename Top>
auto variantOf(const Top &top, int) -> decltype(unsigned(top.status_variant)) {
  return top.status_variant;
}
template <typename Top> unsigned variantOf(const Top &, long) { return 0; }

// The end of an image; an array of one bank counts its words instead.
template <typename Top> auto setLast(Top &top, bool last, int) -> decltype(void(top.prog_tlast)) {
  top.prog_tlast = last;
}
template <typename Top> void setLast(Top &, bool, long) {}

// Bytes of a beat of an image; the array of a netlist says so itself.
template <typename Top> auto programBytes(const Top &top, int) -> decltype(top.programBytes()) {
  return top.programBytes();
}
template <typename Top> size_t programBytes(const Top &top, long) {
  return sizeof(top.prog_tdata);
}

#if VM_TRACE
#if !VM_TRACE_FST
// Verilator's own way out of an error waits forever for a lock that it holds.
struct File : VerilatedVcdFile {
  ssize_t write(const char *data, ssize_t count) override {
    const ssize_t written = VerilatedVcdFile::write(data, count);
    if (written < 0 && errno != EAGAIN && errno != EINTR)
      fail(1, std::string("cannot write the waveform: ") + std::strerror(errno));
    return written;
  }
};
#endif

class Waveform {
public:
  void open(VerilatedContext &context, Vdaqkf_array &top, const char *file, uint64_t tiles) {
#if VM_TRACE_FST
    // Its writer aborts if the disk is full.
    std::signal(SIGABRT, [](int) { fail(1, "cannot write the waveform"); });
#endif
    context.traceEverOn(true);
    top.trace(&writer, 99);
    writer.set_time_unit("1ns");
    writer.set_time_resolution("1ns");
    writer.open(file);
    left = tiles;
    if (!writer.isOpen())
      fail(1, "cannot write the waveform");
  }
  // Half a cycle.
  void step() {
    if (left)
      writer.dump(now);
    now += 5;
  }
  void tileHasLeft() { left -= left != 0; }
  void close() { writer.close(); }

private:
#if VM_TRACE_FST
  VerilatedFstC writer;
#else
  File file;
  VerilatedVcdC writer{&file};
#endif
  uint64_t left = 0, now = 0;
};
#else
struct Waveform {
  template <typename... Arguments> void open(Arguments &&...) {
    fail(1, "this simulator was built without waveforms");
  }
  void step() {}
  void tileHasLeft() {}
  void close() {}
};
#endif

// One side of an AXI4-Stream: beats of a fixed size out of, or into, a buffer.
struct Stream {
  Bytes data;
  size_t beat = 1, position = 0;
  bool offered = false;
  bool done() const { return position == data.size(); }
  uint8_t *here() { return data.data() + position; }
};

struct Job {
  Stream program, x, y;
  size_t outputs = 0;
  const char *results = nullptr;
  uint64_t phases[8] = {};
  std::vector<unsigned> variants;
};

// The first job from the one at `number` on of whose stream something is left.
size_t current(std::vector<Job> &jobs, size_t number, Stream Job::*stream) {
  while (number < jobs.size() && (jobs[number].*stream).done())
    ++number;
  return number;
}

// External memory behind a port, which has a channel and a content of its own.
struct Memory {
  Memory(const Timing &timing, const char *path)
      : channel(timing), content{readFile(path)}, port(channel, content) {}
  Memory(const Memory &) = delete;

  Channel channel;
  Content content;
  ReadPort port;
};

// What the ports do that an array has; for others, nothing.
#define PORT(N)                                                                                    \
  template <typename Top>                                                                          \
  auto offer##N(Top &top, Memory &memory, bool go, int)->decltype(bool(top.mem##N##_rready)) {     \
    bool last = false;                                                                             \
    memory.channel.begin();                                                                        \
    memory.port.offer(top.mem##N##_rdata, top.mem##N##_rvalid, top.mem##N##_rresp, last,           \
                      top.mem##N##_arready, go);                                                   \
    return true;                                                                                   \
  }                                                                                                \
  template <typename Top> bool offer##N(Top &, Memory &, bool, long) { return false; }             \
  template <typename Top>                                                                          \
  auto take##N(Top &top, Memory &memory, int)->decltype(bool(top.mem##N##_rready)) {               \
    const bool moved = memory.port.take(                                                           \
        top.mem##N##_arvalid, top.mem##N##_arready, top.mem##N##_araddr, top.mem##N##_arlen + 1u,  \
        top.mem##N##_rready, sizeof(top.mem##N##_rdata));                                          \
    memory.channel.end();                                                                          \
    return moved;                                                                                  \
  }                                                                                                \
  template <typename Top> bool take##N(Top &, Memory &, long) { return false; }
#define PORTS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
PORTS(PORT)

// The reset of what memory owes.
template <typename Top> auto resetMemory(Top &top, bool on, int) -> decltype(void(top.memory_rst)) {
  top.memory_rst = on;
}
template <typename Top> void resetMemory(Top &, bool, long) {}

struct Bench {
  VerilatedContext context;
  std::unique_ptr<Vdaqkf_array> top;
  Waveform waveform;
  std::mt19937 random;
  unsigned stalls = 0;
  bool overlap = false, inTurn = false;
  uint64_t limit = 0, idle = 0;
  std::deque<Memory> memories;

  bool go() { return random() % 1000 >= stalls; }

  void edge() {
    waveform.step();
    top->clk = 1;
    top->eval();
    waveform.step();
    top->clk = 0;
    top->eval();
  }

  void run(std::vector<Job> &jobs) {
    size_t program = 0, x = 0, y = 0;
    while ((y = current(jobs, y, &Job::y)) < jobs.size()) {
      program = current(jobs, program, &Job::program);
      x = current(jobs, x, &Job::x);
      // One by one, a job that has no results is over with its activations.
      const size_t job = std::min(x, y);
      const bool loads = program < jobs.size() && (overlap || program <= job);
      const bool due = overlap ? x <= y || !inTurn : x <= y && !loads;
      const bool feeds = x < jobs.size() && due;
      cycle(loads ? &jobs[program].program : nullptr, feeds ? &jobs[x].x : nullptr, jobs[y]);
    }
  }

  // One cycle: offer, look at the handshakes, clock. An offer stands until it is taken.
  void cycle(Stream *program, Stream *x, Job &job) {
    top->prog_tvalid = offer(program);
    if (top->prog_tvalid) {
      put(top->prog_tdata, program->here(), program->beat);
      setLast(*top, program->position + program->beat == program->data.size(), 0);
    }
    top->x_tvalid = offer(x);
    if (top->x_tvalid)
      put(top->x_tdata, x->here(), x->beat);
    top->y_tready = go();
#define OFFER(N)                                                                                   \
  if (N < memories.size())                                                                         \
    offer##N(*top, memories[N], go(), 0);
    PORTS(OFFER)
    top->eval();

    ++job.phases[top->status_phase];
    const bool leaves = top->y_tvalid && top->y_tready && top->y_tlast;
    bool moved = take(program, top->prog_tready);
#define TAKE(N)                                                                                    \
  if (N < memories.size())                                                                         \
    moved |= take##N(*top, memories[N], 0);
    PORTS(TAKE)
    moved |= take(x, top->x_tready);
    if (top->y_tvalid && top->y_tready) {
      Stream &y = job.y;
      get(top->y_tdata, y.here(), y.beat);
      y.position += y.beat;
      if (bool(top->y_tlast) != (y.position / y.beat % job.outputs == 0))
        fail(3, "y_tlast does not mark the last beat of a tile");
      if (leaves)
        job.variants.push_back(variantOf(*top, 0));
      moved = true;
    }
    idle = moved ? 0 : idle + 1;
    if (idle > limit)
      fail(3, "no transfer in " + std::to_string(limit) + " cycles; the array is in phase " +
                  std::to_string(top->status_phase));
    if (top->status_error)
      fail(2, "the array refused the program with error " + std::to_string(top->status_error));
    edge();
    if (leaves)
      waveform.tileHasLeft();
  }

  bool offer(Stream *stream) {
    if (stream)
      stream->offered = stream->offered || go();
    return stream && stream->offered;
  }

  static bool take(Stream *stream, bool ready) {
    if (!stream || !stream->offered || !ready)
      return false;
    stream->offered = false;
    stream->position += stream->beat;
    return true;
  }
};

} // namespace

int main(int argc, char **argv) {
  if (argc < 15 || (argc - 9) % 6 != 0)
    fail(1, "usage: harness LANES SEED STALLS LIMIT OVERLAP WAVEFORM SHOWN MEMORY "
            "(PROGRAM X Y TILES BEATS OUTPUTS)...");
  const size_t lanes = std::strtoul(argv[1], nullptr, 10);
  Bench bench;
  // Registers and memories start with random contents: only a reset may make them known.
  bench.context.randReset(2);
  bench.context.randSeed(std::atoi(argv[2]) + 1);
  bench.random.seed(std::strtoul(argv[2], nullptr, 10));
  bench.stalls = std::strtoul(argv[3], nullptr, 10);
  bench.limit = std::strtoull(argv[4], nullptr, 10);
  bench.overlap = std::strtoul(argv[5], nullptr, 10) > 0;
  bench.inTurn = std::strtoul(argv[5], nullptr, 10) > 1;
  bench.top = std::make_unique<Vdaqkf_array>(&bench.context);
  if (std::strcmp(argv[6], "-") != 0)
    bench.waveform.open(bench.context, *bench.top, argv[6], std::strtoull(argv[7], nullptr, 10));

  Timing timing;
  unsigned ports = 0;
  if (std::strcmp(argv[8], "-") != 0)
    ports = timing.read(argv[8]);
  for (unsigned port = 0; port < ports; ++port)
    bench.memories.emplace_back(timing, ("memory" + std::to_string(port)).c_str());

  bench.top->rst = 1;
  resetMemory(*bench.top, true, 0);
  bench.top->clk = 0;
  bench.top->prog_tvalid = bench.top->x_tvalid = bench.top->y_tready = 0;
  bench.top->eval();
  for (int i = 0; i < 4; ++i)
    bench.edge();
  bench.top->rst = 0;
  resetMemory(*bench.top, false, 0);

  std::vector<Job> jobs((argc - 9) / 6);
  for (size_t number = 0; number < jobs.size(); ++number) {
    Job &job = jobs[number];
    char **arguments = argv + 9 + 6 * number;
    const size_t tiles = std::strtoul(arguments[3], nullptr, 10);
    const size_t beats = std::strtoul(arguments[4], nullptr, 10);
    job.outputs = std::strtoul(arguments[5], nullptr, 10);
    job.results = arguments[2];
    job.program.beat = programBytes(*bench.top, 0);
    if (std::strcmp(arguments[0], "-") != 0)
      job.program.data = readFile(arguments[0]);
    job.x.data = readFile(arguments[1]);
    // A beat may bring several features, and take away as many rows of results.
    job.x.beat = job.y.beat = beats ? job.x.data.size() / beats : lanes;
    job.y.data.resize(tiles * job.outputs * job.y.beat);
    if (job.program.data.size() % job.program.beat ||
        job.x.data.size() != beats * job.x.beat || job.x.beat % lanes)
      fail(1, "the files do not have the stated sizes");
  }
  bench.run(jobs);
  bench.waveform.close();

  for (const Job &job : jobs) {
    std::ofstream file(job.results, std::ios::binary);
    file.write(reinterpret_cast<const char *>(job.y.data.data()),
               std::streamsize(job.y.data.size()));
    if (!file.flush())
      fail(1, std::string("cannot write ") + job.results);
    for (uint64_t count : job.phases)
      std::printf("%llu ", static_cast<unsigned long long>(count));
    for (unsigned variant : job.variants)
      std::printf("%u ", variant);
    std::printf("\n");
  }
  bench.top->final();
  return 0;
}
