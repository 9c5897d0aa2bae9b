// Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The firmware of a SoC with an engine. It initialises the SDRAM and waits for a page of jobs there
// (jobs.h, from boards/jobs.py). The engine runs them; the results are compared with those that are
// expected; what was found goes to the page and to the console.

#include <stdbool.h>
#include <stdint.h>

#include <irq.h>

#include <generated/csr.h>
#include <generated/mem.h>
#include <liblitedram/sdram.h>

#include "console.h"
#include "daqkf.h"
#include "jobs.h"

void trap(void) __attribute__((interrupt("machine")));
int main(void);

#define PAGE ((volatile struct jobs *)MAIN_RAM_BASE)

// What the processor reads beside the engine: many more bytes than its cache has, a word of each line.
#define READ_BYTES 0x40000u
#define LINE_BYTES 32u

// The memory that is tried before anything is in it: some bytes at its end.
#define TRIED_BYTES 64u

// Turns of a loop of some ten cycles that are waited for an interrupt before the driver looks anyway.
#define TURNS 100000u

static volatile bool interrupted;
static bool reads_beside;

void trap(void) {
  // The engine's line stays up until the driver has acknowledged its events.
  engine_ev_enable_write(0);
  interrupted = true;
}

static bool wait_for_interrupt(void *context, uint32_t microseconds) {
  (void)context, (void)microseconds;
  interrupted = false;
  engine_ev_enable_write(1);
  for (uint32_t turn = 0; turn < TURNS && !interrupted; ++turn)
    if (reads_beside)
      (void)*(volatile uint32_t *)(MAIN_RAM_BASE + turn * LINE_BYTES % READ_BYTES);
  engine_ev_enable_write(0);
  return interrupted;
}

// What the processor has of memory in its cache is older than what the engine has written.
static void forget_cached(void *context, uint64_t address, uint64_t count) {
  (void)context, (void)address, (void)count;
  flush_cpu_dcache();
}

// LiteX initialises the SDRAM, and trains the delays of a DDR3.
static bool initialize_memory(void) {
  if (!sdram_init())
    return false;
  volatile uint32_t *words = (volatile uint32_t *)(MAIN_RAM_BASE + MAIN_RAM_SIZE - TRIED_BYTES);
  const uint32_t count = TRIED_BYTES / sizeof *words;
  for (uint32_t number = 0; number < count; ++number)
    words[number] = number * 0x01234567u ^ 0xa5a5a5a5u;
  flush_cpu_dcache();
  for (uint32_t number = 0; number < count; ++number)
    if (words[number] != (number * 0x01234567u ^ 0xa5a5a5a5u))
      return false;
  return true;
}

// How many bytes of results are as they are expected, from the first one on.
static uint32_t equal_bytes(const volatile struct check *check) {
  const volatile uint8_t *found = (const volatile uint8_t *)(uintptr_t)check->results;
  const volatile uint8_t *expected = (const volatile uint8_t *)(uintptr_t)check->expected;
  uint32_t at = 0;
  while (at < check->bytes && found[at] == expected[at])
    ++at;
  return at;
}

static enum daqkf_result run(struct daqkf_device *device) {
  const struct daqkf_queue queue = {
      .address = PAGE->queue,
      .bytes = PAGE->bytes,
      .descriptors = PAGE->descriptors,
      .jobs = PAGE->jobs,
  };
  struct daqkf_counters counters;
  enum daqkf_result result = daqkf_count(device, &counters, true);
  if (result != DAQKF_OK)
    return result;
  const uint32_t before = engine_beats_read();
  result = daqkf_play(device, &queue);
  PAGE->beats = engine_beats_read() - before;
  if (result != DAQKF_OK)
    return result;
  result = daqkf_count(device, &counters, false);
  PAGE->cycles = (uint32_t)counters.cycles;
  return result;
}

static uint32_t check_results(void) {
  for (uint32_t number = 0; number < PAGE->checks; ++number) {
    const volatile struct check *check = &PAGE->check[number];
    const uint32_t equal = equal_bytes(check);
    if (equal < check->bytes) {
      put_text("wrong result at ");
      put_hex(check->results + equal);
      put_text("\n");
      return JOBS_STATE_WRONG;
    }
    put_number(equal);
    put_text(" bytes of results as expected\n");
  }
  return JOBS_STATE_DONE;
}

static uint32_t run_page(void) {
  const uint32_t options = PAGE->options;
  reads_beside = options & JOBS_OPTION_READ_BESIDE;
  // The cache may have what was in the place of the results before.
  for (uint32_t number = 0; number < PAGE->checks; ++number)
    for (uint32_t at = 0; at < PAGE->check[number].bytes; at += LINE_BYTES)
      (void)*(volatile uint32_t *)(uintptr_t)(PAGE->check[number].results + at);
  struct daqkf_mapping mapping = {
      .registers = (volatile uint32_t *)ENGINE_BASE,
      .memory = (volatile uint8_t *)MAIN_RAM_BASE,
      .address = MAIN_RAM_BASE,
      .bytes = MAIN_RAM_SIZE,
  };
  struct daqkf_bus bus;
  struct daqkf_device device;
  daqkf_map(&bus, &mapping);
  bus.wait = wait_for_interrupt;
  bus.invalidate = options & JOBS_OPTION_KEEP_CACHED ? NULL : forget_cached;
  enum daqkf_result result = daqkf_open(&device, &bus, PAGE->fingerprint);
  if (result == DAQKF_OK)
    result = run(&device);
  PAGE->result = result;
  if (result != DAQKF_OK) {
    put_text(daqkf_message(result));
    put_text("\n");
    return JOBS_STATE_STOPPED;
  }
  put_text("cycles: ");
  put_number(PAGE->cycles);
  put_text(", beats of memory: ");
  put_number(PAGE->beats);
  put_text(", interrupts: ");
  put_number(device.interrupts);
  put_text("\n");
  return check_results();
}

static void finish(uint32_t state) {
  PAGE->state = state;
#ifdef CSR_FINISH_CODE_ADDR
  finish_code_write(state);
#endif
}

int main(void) {
  put_text("DAQKF on " CONFIG_PLATFORM_NAME "\n");
  irq_setmask(1u << ENGINE_INTERRUPT);
  irq_setie(1);
  if (!initialize_memory()) {
    put_text("the memory does not keep what is written to it\n");
    finish(JOBS_STATE_MEMORY);
  }
  for (;;) {
    flush_cpu_dcache();
    if (PAGE->magic == JOBS_MAGIC && PAGE->state == JOBS_STATE_READY)
      finish(run_page());
  }
}
