// Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// External memory behind the AXI4 ports of a simulated circuit. A channel gives some beats in some
// cycles, pauses for refreshes, and is shared by the ports that it is behind. A port answers in the
// order of the addresses.

#ifndef DAQKF_EXTERNAL_MEMORY_H
#define DAQKF_EXTERNAL_MEMORY_H

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

using Bytes = std::vector<uint8_t>;

[[noreturn]] inline void fail(int code, const std::string &message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  std::exit(code);
}

inline Bytes readFile(const char *path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    fail(1, std::string("cannot read ") + path);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

// What external memory takes; all but `beats` in cycles.
struct Timing {
  uint64_t latency = 1, beats = 1, cycles = 1, interval = 0, pause = 0;

  // Reads COUNT,LATENCY,BEATS,CYCLES,INTERVAL,PAUSE, and returns the count.
  unsigned read(const char *text) {
    unsigned count = 0;
    if (std::sscanf(text, "%u,%lu,%lu,%lu,%lu,%lu", &count, &latency, &beats, &cycles, &interval,
                    &pause) != 6)
      fail(1, "MEMORY is COUNT,LATENCY,BEATS,CYCLES,INTERVAL,PAUSE");
    return count;
  }
};

// What a channel of memory still has to give. It gives a beat for `cycles` of credit.
class Channel {
public:
  explicit Channel(const Timing &timing) : timing(timing) {}

  const Timing timing;

  // Before the ports that the channel is behind do anything in a cycle.
  void begin() {
    credit = std::min(credit + int64_t(timing.beats), AHEAD * int64_t(timing.cycles));
    refreshes = timing.interval && now % timing.interval < timing.pause;
  }
  void end() { ++now; }
  uint64_t time() const { return now; }
  bool gives() const { return !refreshes && credit - promised >= int64_t(timing.cycles); }
  // A beat that is offered, and one that is taken.
  void promise() { promised += int64_t(timing.cycles); }
  void keep() {
    promised -= int64_t(timing.cycles);
    take();
  }
  void take() { credit -= int64_t(timing.cycles); }

private:
  static constexpr int64_t AHEAD = 4;
  uint64_t now = 0;
  int64_t credit = 0, promised = 0;
  bool refreshes = false;
};

constexpr unsigned OKAY = 0, SUBORDINATE_ERROR = 2, DECODE_ERROR = 3;
constexpr uint64_t PAGE = 4096;
constexpr size_t MOST_BURSTS = 16;

struct Burst {
  uint64_t address;
  unsigned beats;
  uint64_t due;
};

inline void checkBurst(uint64_t address, unsigned beats, size_t bytes) {
  if (address % PAGE + beats * bytes > PAGE)
    fail(3, "a burst crosses a boundary of 4 KiB");
}

// What memory holds from an address on.
struct Content {
  Bytes bytes;
  uint64_t base = 0;

  bool has(uint64_t address, uint64_t count) const {
    return address >= base && address - base + count <= bytes.size();
  }
  uint8_t *at(uint64_t address) { return bytes.data() + (address - base); }
};

// What is wrong with a memory. Ports of which nothing is wrong have none.
struct Faults {
  // Bytes that are answered with an error.
  uint64_t first = 0, count = 0;
  // It takes addresses and data, but answers nothing.
  bool dead = false;

  unsigned response(const Content &content, uint64_t address, uint64_t bytes) const {
    if (!content.has(address, bytes))
      return DECODE_ERROR;
    return address < first + count && first < address + bytes ? SUBORDINATE_ERROR : OKAY;
  }
};
inline const Faults NO_FAULTS;

// The read channels of a port.
class ReadPort {
public:
  ReadPort(Channel &channel, Content &content, const Faults &faults = NO_FAULTS)
      : channel(channel), content(content), faults(faults) {}

  uint64_t bytesRead = 0;

  // The circuit's inputs for a cycle. An offer stands until it is taken.
  template <typename Data, typename Bit, typename Code, typename Last>
  void offer(Data &rdata, Bit &rvalid, Code &rresp, Last &rlast, Bit &arready, bool go) {
    arready = go && bursts.size() < MOST_BURSTS;
    if (!offered) {
      offered = go && !faults.dead && !bursts.empty() && bursts.front().due <= channel.time() &&
                channel.gives();
      if (offered)
        channel.promise();
    }
    rvalid = offered;
    if (!offered)
      return;
    const Burst &burst = bursts.front();
    rlast = burst.beats == 1;
    rresp = faults.response(content, burst.address, sizeof(rdata));
    std::memset(&rdata, 0, sizeof(rdata));
    if (rresp == OKAY)
      std::memcpy(&rdata, content.at(burst.address), sizeof(rdata));
  }

  // The handshakes of that cycle. Whether there was one.
  bool take(bool arvalid, bool arready, uint64_t address, unsigned beats, bool rready,
            size_t bytes) {
    bool moved = false;
    if (offered && rready) {
      offered = false;
      channel.keep();
      bytesRead += bytes;
      moved = true;
      Burst &burst = bursts.front();
      burst.address += bytes;
      if (!--burst.beats)
        bursts.pop_front();
    }
    if (arvalid && arready) {
      checkBurst(address, beats, bytes);
      bursts.push_back({address, beats, channel.time() + channel.timing.latency});
      moved = true;
    }
    return moved;
  }

private:
  Channel &channel;
  Content &content;
  const Faults &faults;
  std::deque<Burst> bursts;
  bool offered = false;
};

// The write channels of a port. What is written is there when it is acknowledged.
class WritePort {
public:
  WritePort(Channel &channel, Content &content, const Faults &faults = NO_FAULTS)
      : channel(channel), content(content), faults(faults) {}

  uint64_t bytesWritten = 0;

  template <typename Bit, typename Code>
  void offer(Bit &awready, Bit &wready, Bit &bvalid, Code &bresp, bool go) {
    awready = go && bursts.size() < MOST_BURSTS;
    wready = go && channel.gives();
    if (!offered)
      offered = go && !faults.dead && !answers.empty() && answers.front().due <= channel.time();
    bvalid = offered;
    if (offered)
      bresp = answers.front().response;
  }

  // The handshakes of that cycle. Strobes have a bit for each byte. Whether there was one.
  bool take(bool awvalid, bool awready, uint64_t address, unsigned beats, bool wvalid, bool wready,
            const void *wdata, const void *wstrb, bool wlast, bool bready, size_t bytes) {
    bool moved = false;
    if (offered && bready) {
      write(answers.front());
      answers.pop_front();
      offered = false;
      moved = true;
    }
    if (awvalid && awready) {
      checkBurst(address, beats, bytes);
      bursts.push_back({address, beats, 0});
      moved = true;
    }
    if (wvalid && wready) {
      channel.take();
      const auto *from = static_cast<const uint8_t *>(wdata);
      const auto *bits = static_cast<const uint8_t *>(wstrb);
      for (size_t byte = 0; byte < bytes; ++byte) {
        const bool strobe = bits[byte / 8] >> byte % 8 & 1;
        beatsHeld.push_back({from[byte], strobe});
        bytesWritten += strobe;
      }
      lasts.push_back(wlast);
      moved = true;
    }
    complete(bytes);
    return moved;
  }

private:
  struct Byte {
    uint8_t value;
    bool strobe;
  };
  struct Answer {
    uint64_t address, due;
    unsigned response;
    std::vector<Byte> bytes;
  };

  // Take bursts all of whose beats are there.
  void complete(size_t bytes) {
    while (!bursts.empty() && lasts.size() >= bursts.front().beats) {
      const Burst burst = bursts.front();
      bursts.pop_front();
      for (unsigned beat = 0; beat < burst.beats; ++beat, lasts.pop_front())
        if (lasts.front() != (beat + 1 == burst.beats))
          fail(3, "wlast does not mark the last beat of a burst");
      const auto end = beatsHeld.begin() + std::ptrdiff_t(burst.beats * bytes);
      const unsigned response =
          faults.response(content, burst.address, burst.beats * bytes);
      answers.push_back({burst.address, channel.time() + channel.timing.latency, response,
                         std::vector<Byte>(beatsHeld.begin(), end)});
      beatsHeld.erase(beatsHeld.begin(), end);
    }
  }

  void write(const Answer &answer) {
    if (answer.response != OKAY)
      return;
    for (size_t byte = 0; byte < answer.bytes.size(); ++byte)
      if (answer.bytes[byte].strobe)
        *content.at(answer.address + byte) = answer.bytes[byte].value;
  }

  Channel &channel;
  Content &content;
  const Faults &faults;
  std::deque<Burst> bursts;
  std::deque<Byte> beatsHeld;
  std::deque<bool> lasts;
  std::deque<Answer> answers;
  bool offered = false;
};

#endif
