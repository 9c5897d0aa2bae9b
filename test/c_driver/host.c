/* Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
   SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

   Runs a recorded queue on a simulated system by daqkf.c, and whatever can go wrong in front of it. Usage:

     host FINGERPRINT BASE BYTES CONTENT EXPECTED DESCRIPTORS JOBS SCENARIO

   CONTENT is what memory is to hold from BASE on, and EXPECTED what it holds afterwards. BYTES is the size of
   the memory. Numbers are hexadecimal. Prints what each call said to standard error; the exit code is 0 if
   the queue gave what was expected after all. */

#include "pipe_bus.h"

struct host {
  struct pipe_bus pipe;
  struct daqkf_device device;
  struct daqkf_queue queue;
  uint32_t fingerprint;
  const uint8_t *expected;
};

static uint8_t *read_file(const char *path, uint64_t bytes) {
  FILE *file = fopen(path, "rb");
  uint8_t *data = malloc((size_t)bytes);
  if (!file || !data || fread(data, 1, (size_t)bytes, file) != bytes) {
    fprintf(stderr, "cannot read %s\n", path);
    exit(2);
  }
  fclose(file);
  return data;
}

static uint64_t size_of(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) {
    fprintf(stderr, "cannot read %s\n", path);
    exit(2);
  }
  const long size = ftell(file);
  fclose(file);
  return (uint64_t)size;
}

static enum daqkf_result said(const struct host *host, enum daqkf_result result) {
  fprintf(stderr, "%s", daqkf_message(result));
  if (result > DAQKF_ERROR_QUEUE)
    fprintf(stderr, " (job %u; %s)", host->device.failed_job,
            daqkf_array_message(host->device.array_error));
  fprintf(stderr, "\n");
  return result;
}

static enum daqkf_result open_device(struct host *host) {
  return said(host, daqkf_open(&host->device, &host->pipe.bus, host->fingerprint));
}

static enum daqkf_result play(struct host *host) {
  return said(host, daqkf_play(&host->device, &host->queue));
}

/* Run the jobs one by one or all together from a ring of our own, which the last page of memory has. */
static enum daqkf_result run_jobs(struct host *host, uint32_t size, bool together) {
  const struct daqkf_bus *bus = &host->pipe.bus;
  const uint32_t count = host->queue.jobs;
  struct daqkf_job jobs[64] = {{0}};
  if (count > 64)
    return DAQKF_ERROR_ARGUMENT;
  const uint8_t *descriptors =
      (const uint8_t *)host->queue.content + (host->queue.descriptors - host->queue.address);
  for (uint32_t number = 0; number < count; ++number) {
    const uint8_t *from = descriptors + number * DAQKF_DESCRIPTOR_BYTES;
    struct daqkf_job *job = &jobs[number];
    /* This host is little-endian, as descriptors are. */
    memcpy(&job->program, from + DAQKF_DESCRIPTOR_PROGRAM_OFFSET, 8);
    memcpy(&job->activations, from + DAQKF_DESCRIPTOR_ACTIVATIONS_OFFSET, 8);
    memcpy(&job->results, from + DAQKF_DESCRIPTOR_RESULTS_OFFSET, 8);
    memcpy(&job->program_words, from + DAQKF_DESCRIPTOR_PROGRAM_WORDS_OFFSET, 4);
    memcpy(&job->activation_rows, from + DAQKF_DESCRIPTOR_ACTIVATION_ROWS_OFFSET, 4);
    memcpy(&job->result_rows, from + DAQKF_DESCRIPTOR_RESULT_ROWS_OFFSET, 4);
    job->flags = from[DAQKF_DESCRIPTOR_FLAGS_OFFSET] & DAQKF_DESCRIPTOR_FLAGS_INDEPENDENT;
  }
  enum daqkf_result result =
      daqkf_store(&host->device, host->queue.address, host->queue.content, (size_t)host->queue.bytes);
  if (result == DAQKF_OK)
    result = daqkf_set_queue(&host->device, bus->memory + bus->memory_bytes - 4096, size);
  if (together)
    return result == DAQKF_OK ? daqkf_run(&host->device, jobs, count) : result;
  for (uint32_t number = 0; result == DAQKF_OK && number < count; ++number)
    result = daqkf_run(&host->device, &jobs[number], 1);
  return result;
}

/* Whether memory holds what is expected, but for the descriptors. */
static bool right(struct host *host) {
  const struct daqkf_queue *queue = &host->queue;
  uint8_t *found = malloc((size_t)queue->bytes);
  const bool loaded =
      found && daqkf_load(&host->device, queue->address, found, (size_t)queue->bytes) == DAQKF_OK;
  const bool equal = loaded && memcmp(found, host->expected, (size_t)queue->bytes) == 0;
  fprintf(stderr, "%s\n", equal ? "right" : "wrong");
  free(found);
  return equal;
}

static bool is(const char *scenario, const char *name) { return strcmp(scenario, name) == 0; }

/* What goes wrong before the queue runs. */
static void trouble(struct host *host, const char *scenario) {
  struct pipe_bus *pipe = &host->pipe;
  struct daqkf_device *device = &host->device;
  const uint64_t results_far = pipe->bus.memory_bytes;
  if (is(scenario, "fingerprint")) {
    host->fingerprint ^= 1;
    open_device(host);
    host->fingerprint ^= 1;
    open_device(host);
  } else if (is(scenario, "program")) {
    /* What the array itself finds out, if the host does not. */
    uint8_t *content = (uint8_t *)(uintptr_t)host->queue.content;
    uint8_t *job = content + (host->queue.descriptors - host->queue.address);
    uint64_t program;
    memcpy(&program, job, sizeof(program));
    uint8_t *byte = content + (program - host->queue.address) + DAQKF_IMAGE_FINGERPRINT_OFFSET;
    *byte ^= 1;
    play(host);
    *byte ^= 1;
  } else if (is(scenario, "cable")) {
    /* Before the queue is set up, and when it runs. */
    for (unsigned accesses = 5; accesses <= 25; accesses += 20) {
      pipe->accesses = 0;
      pipe->pulled_after = accesses;
      play(host);
      pipe->pulled_after = 0;
    }
  } else if (is(scenario, "lost-interrupt")) {
    pipe->deaf = true;
  } else if (is(scenario, "time-out")) {
    pipe->pace = 0;
    device->timeout_polls = 1;
    play(host);
    device->timeout_polls = 100000;
  } else if (is(scenario, "naps")) {
    pipe->deaf = true;
    pipe->pace = 0;
    device->nap_microseconds = 1;
    device->timeout_microseconds = 2;
    play(host);
    device->timeout_microseconds = 0;
    pipe->deaf = false;
  } else if (is(scenario, "interference")) {
    pipe->interferes = true;
    play(host);
  } else if (is(scenario, "memory-size")) {
    pipe->bus.memory_bytes = host->queue.bytes - 1;
    play(host);
    pipe->bus.memory_bytes = results_far;
  } else if (is(scenario, "memory-error")) {
    tell("faults", host->queue.descriptors, 64);
    play(host);
    tell("faults", 0, 0);
  } else if (is(scenario, "memory-dead")) {
    tell("dead", 1, 0);
    play(host);
    tell("dead", 0, 0);
  } else if (is(scenario, "polling")) {
    pipe->bus.wait = NULL;
    open_device(host);
  }
}

int main(int argc, char **argv) {
  static struct host host;
  if (argc != 9)
    return 2;
  const char *scenario = argv[8];
  uint64_t numbers[9] = {0};
  for (int index = 1; index < 8; ++index)
    numbers[index] = strtoull(argv[index], NULL, 16);
  host.fingerprint = (uint32_t)numbers[1];
  pipe_open(&host.pipe, numbers[2], numbers[3]);
  host.queue.address = numbers[2];
  host.queue.bytes = size_of(argv[4]);
  host.queue.content = read_file(argv[4], host.queue.bytes);
  host.queue.descriptors = numbers[6];
  host.queue.jobs = (uint32_t)numbers[7];
  host.expected = read_file(argv[5], host.queue.bytes);

  if (open_device(&host) != DAQKF_OK)
    return 1;
  trouble(&host, scenario);
  const uint32_t before = host.device.interrupts;
  enum daqkf_result result;
  if (is(scenario, "ring"))
    result = said(&host, run_jobs(&host, 2, true));
  else if (is(scenario, "one-by-one"))
    result = said(&host, run_jobs(&host, 3, false));
  else
    result = play(&host);
  struct daqkf_counters counters;
  if (daqkf_count(&host.device, &counters, true) != DAQKF_OK)
    return 1;
  fprintf(stderr,
          "interrupts %u tiles %" PRIu64 " cycles %d flushed %d invalidated %d\n",
          host.device.interrupts - before, counters.tiles, counters.cycles > counters.busy,
          host.pipe.flushed >= host.queue.bytes, host.pipe.invalidated >= host.queue.bytes);
  return right(&host) && result == DAQKF_OK ? 0 : 1;
}
