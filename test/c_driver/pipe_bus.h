/* Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
   SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

   A bus to a simulated system at the other end of the standard streams; see system_harness.cpp. */

#ifndef PIPE_BUS_H
#define PIPE_BUS_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daqkf.h"

struct pipe_bus {
  struct daqkf_bus bus;
  uint32_t pace;         /* cycles that pass before a register is read */
  uint64_t accesses;     /* so far */
  uint64_t pulled_after; /* the bus fails from then on; 0: it does not */
  bool deaf;             /* interrupts get lost */
  bool interferes;       /* somebody else resets the device at the next wait */
  uint64_t flushed, invalidated;
};

static void say(const char *text, size_t count) {
  while (count) {
    const ssize_t some = write(STDOUT_FILENO, text, count);
    if (some <= 0) {
      fprintf(stderr, "the simulation has ended\n");
      exit(3);
    }
    text += some;
    count -= (size_t)some;
  }
}

static void hear(char *text, size_t count) {
  while (count) {
    const ssize_t some = read(STDIN_FILENO, text, count);
    if (some <= 0) {
      fprintf(stderr, "the simulation has ended\n");
      exit(3);
    }
    text += some;
    count -= (size_t)some;
  }
}

static void tell(const char *what, uint64_t first, uint64_t second) {
  char line[80];
  const int length = snprintf(line, sizeof(line), "%s %" PRIx64 " %" PRIx64 "\n", what, first, second);
  say(line, (size_t)length);
}

static uint32_t answer(void) {
  char line[16] = "";
  size_t length = 0;
  do
    hear(line + length, 1);
  while (line[length] != '\n' && ++length + 1 < sizeof(line));
  return (uint32_t)strtoul(line, NULL, 16);
}

/* Whether the cable is in. */
static bool reaches(struct pipe_bus *pipe) {
  return !pipe->pulled_after || ++pipe->accesses < pipe->pulled_after;
}

static bool pipe_read(void *context, uint32_t offset, uint32_t *word) {
  struct pipe_bus *pipe = context;
  if (!reaches(pipe))
    return false;
  tell("wait", pipe->pace, 0);
  tell("read", offset, 0);
  *word = answer();
  return true;
}

static bool pipe_write(void *context, uint32_t offset, uint32_t word) {
  if (!reaches(context))
    return false;
  tell("write", offset, word);
  return true;
}

static bool pipe_load(void *context, uint64_t address, void *bytes, size_t count) {
  if (!reaches(context))
    return false;
  tell("load", address, count);
  hear(bytes, count);
  return true;
}

static bool pipe_store(void *context, uint64_t address, const void *bytes, size_t count) {
  if (!reaches(context))
    return false;
  tell("store", address, count);
  say(bytes, count);
  return true;
}

/* A microsecond is a hundred cycles. */
static bool pipe_wait(void *context, uint32_t microseconds) {
  struct pipe_bus *pipe = context;
  if (pipe->interferes) {
    pipe->interferes = false;
    tell("write", DAQKF_CONTROL_OFFSET, DAQKF_CONTROL_SOFT_RESET_MASK);
    return false;
  }
  tell(pipe->deaf ? "wait" : "until", microseconds * UINT64_C(100), 0);
  return !pipe->deaf && answer() == 1;
}

static void pipe_flush(void *context, uint64_t address, uint64_t count) {
  (void)address;
  ((struct pipe_bus *)context)->flushed += count;
}

static void pipe_invalidate(void *context, uint64_t address, uint64_t count) {
  (void)address;
  ((struct pipe_bus *)context)->invalidated += count;
}

static void pipe_open(struct pipe_bus *pipe, uint64_t memory, uint64_t bytes) {
  *pipe = (struct pipe_bus){.pace = 500};
  pipe->bus = (struct daqkf_bus){.context = pipe,
                                 .read_register = pipe_read,
                                 .write_register = pipe_write,
                                 .read_memory = pipe_load,
                                 .write_memory = pipe_store,
                                 .memory = memory,
                                 .memory_bytes = bytes,
                                 .wait = pipe_wait,
                                 .flush = pipe_flush,
                                 .invalidate = pipe_invalidate};
}

#endif
