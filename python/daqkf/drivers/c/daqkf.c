/* Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
   SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */

#include "daqkf.h"

enum {
  PAGE = 4096,
  DEFAULT_MICROSECONDS = 10u * 1000 * 1000,
  DEFAULT_POLLS = 100u * 1000 * 1000,
  DEFAULT_NAP = 10u * 1000,
  DEFAULT_SETTLING = 16
};

/* What is written to memory is there before a register is written, and a register is read before
   memory is. Compilers and processors may put both in another order. */
#ifndef DAQKF_BARRIER
#if defined(__riscv)
#define DAQKF_BARRIER() __asm__ __volatile__("fence iorw, iorw" ::: "memory")
#elif defined(__aarch64__) || (defined(__ARM_ARCH) && __ARM_ARCH >= 7)
#define DAQKF_BARRIER() __asm__ __volatile__("dsb sy" ::: "memory")
#elif defined(__GNUC__)
#define DAQKF_BARRIER() __sync_synchronize()
#else
#error "define DAQKF_BARRIER() as a full barrier of this processor"
#endif
#endif

/* A word of memory that may hold anything. */
#ifdef __GNUC__
typedef uint32_t __attribute__((__may_alias__)) any_word;
#else
typedef uint32_t any_word;
#endif

/* The value of a field in a register's word, by the names of daqkf_registers.h. */
#define FIELD(word, name) (((word) & DAQKF_##name##_MASK) >> DAQKF_##name##_SHIFT)

#define TRY(call)                                                                                  \
  do {                                                                                             \
    const enum daqkf_result tried = (call);                                                        \
    if (tried != DAQKF_OK)                                                                         \
      return tried;                                                                                \
  } while (0)

static const uint32_t EVENTS =
    DAQKF_INTERRUPT_ENABLE_QUEUE_DONE_MASK | DAQKF_INTERRUPT_ENABLE_QUEUE_FAILED_MASK;

/* ---- Registers and memory ---------------------------------------------------------------- */

static enum daqkf_result get(const struct daqkf_bus *bus, uint32_t offset, uint32_t *word) {
  *word = 0;
  return bus->read_register(bus->context, offset, word) ? DAQKF_OK : DAQKF_ERROR_BUS;
}

static enum daqkf_result put(const struct daqkf_bus *bus, uint32_t offset, uint32_t word) {
  return bus->write_register(bus->context, offset, word) ? DAQKF_OK : DAQKF_ERROR_BUS;
}

/* Whether the device's memory has these bytes. No sum of two numbers can overflow here. */
static bool has_memory(const struct daqkf_bus *bus, uint64_t address, uint64_t count) {
  return address >= bus->memory && count <= bus->memory_bytes &&
         address - bus->memory <= bus->memory_bytes - count;
}

static bool aligned(uint64_t address) {
  return address % DAQKF_DESCRIPTOR_BYTES == 0 && address >> DAQKF_MEMORY_ADDRESS_BITS == 0;
}

static enum daqkf_result store(const struct daqkf_bus *bus, uint64_t address, const void *bytes,
                               size_t count) {
  if (!has_memory(bus, address, count))
    return DAQKF_ERROR_MEMORY_SIZE;
  if (!bus->write_memory(bus->context, address, bytes, count))
    return DAQKF_ERROR_BUS;
  if (bus->flush)
    bus->flush(bus->context, address, count);
  return DAQKF_OK;
}

enum daqkf_result daqkf_store(struct daqkf_device *device, uint64_t address, const void *bytes,
                              size_t count) {
  return store(device->bus, address, bytes, count);
}

enum daqkf_result daqkf_load(struct daqkf_device *device, uint64_t address, void *bytes,
                             size_t count) {
  const struct daqkf_bus *bus = device->bus;
  if (!has_memory(bus, address, count))
    return DAQKF_ERROR_MEMORY_SIZE;
  if (bus->invalidate)
    bus->invalidate(bus->context, address, count);
  return bus->read_memory(bus->context, address, bytes, count) ? DAQKF_OK : DAQKF_ERROR_BUS;
}

/* ---- A bus of mapped registers and memory ------------------------------------------------ */

static bool mapped_read(void *context, uint32_t offset, uint32_t *word) {
  const struct daqkf_mapping *mapping = context;
  *word = mapping->registers[offset / sizeof(uint32_t)];
  DAQKF_BARRIER();
  return true;
}

static bool mapped_write(void *context, uint32_t offset, uint32_t word) {
  const struct daqkf_mapping *mapping = context;
  DAQKF_BARRIER();
  mapping->registers[offset / sizeof(uint32_t)] = word;
  return true;
}

static bool whole_words(const volatile uint8_t *memory, const void *bytes) {
  return (uintptr_t)memory % sizeof(uint32_t) == 0 && (uintptr_t)bytes % sizeof(uint32_t) == 0;
}

/* Memory that is not cached takes aligned words alone on some processors. Accesses that are volatile
   also keep compilers from calling memcpy. */
static bool mapped_load(void *context, uint64_t address, void *bytes, size_t count) {
  const struct daqkf_mapping *mapping = context;
  const volatile uint8_t *from = mapping->memory + (size_t)(address - mapping->address);
  uint8_t *to = bytes;
  DAQKF_BARRIER();
  if (whole_words(from, bytes))
    for (; count >= sizeof(uint32_t); count -= sizeof(uint32_t)) {
      *(volatile any_word *)(void *)to = *(const volatile any_word *)(const volatile void *)from;
      from += sizeof(uint32_t);
      to += sizeof(uint32_t);
    }
  for (; count; --count)
    *to++ = *from++;
  return true;
}

static bool mapped_store(void *context, uint64_t address, const void *bytes, size_t count) {
  const struct daqkf_mapping *mapping = context;
  volatile uint8_t *to = mapping->memory + (size_t)(address - mapping->address);
  const uint8_t *from = bytes;
  if (whole_words(to, bytes))
    for (; count >= sizeof(uint32_t); count -= sizeof(uint32_t)) {
      *(volatile any_word *)(volatile void *)to = *(const any_word *)(const void *)from;
      from += sizeof(uint32_t);
      to += sizeof(uint32_t);
    }
  for (; count; --count)
    *to++ = *from++;
  DAQKF_BARRIER();
  return true;
}

void daqkf_map(struct daqkf_bus *bus, struct daqkf_mapping *mapping) {
  bus->context = mapping;
  bus->read_register = mapped_read;
  bus->write_register = mapped_write;
  bus->read_memory = mapped_load;
  bus->write_memory = mapped_store;
  bus->memory = mapping->address;
  bus->memory_bytes = mapping->bytes;
  bus->wait = NULL;
  bus->clock = NULL;
  bus->flush = NULL;
  bus->invalidate = NULL;
}

/* ---- Opening ----------------------------------------------------------------------------- */

/* The bus keeps what is written, also after something else was written. */
static enum daqkf_result try_bus(const struct daqkf_bus *bus) {
  static const uint32_t WORDS[] = {0x5aa5c33cu, 0xa55a3cc3u, 0u};
  for (size_t index = 0; index < sizeof(WORDS) / sizeof(*WORDS); ++index) {
    uint32_t word;
    TRY(put(bus, DAQKF_SCRATCH_OFFSET, WORDS[index]));
    TRY(get(bus, DAQKF_SCRATCH_OFFSET, &word));
    if (word != WORDS[index])
      return DAQKF_ERROR_BUS;
  }
  return DAQKF_OK;
}

static enum daqkf_result identify(struct daqkf_device *device) {
  const struct daqkf_bus *bus = device->bus;
  uint32_t word;
  TRY(get(bus, DAQKF_ID_OFFSET, &word));
  if (word != DAQKF_ID_MAGIC_EXPECTED)
    return DAQKF_ERROR_NO_DEVICE;
  TRY(get(bus, DAQKF_VERSION_OFFSET, &word));
  if (FIELD(word, VERSION_MAP) != DAQKF_VERSION_MAP_EXPECTED)
    return DAQKF_ERROR_MAP_VERSION;
  if (FIELD(word, VERSION_IMAGE) != DAQKF_VERSION_IMAGE_EXPECTED)
    return DAQKF_ERROR_IMAGE_VERSION;
  TRY(try_bus(bus));
  TRY(get(bus, DAQKF_FINGERPRINT_OFFSET, &device->fingerprint));
  TRY(get(bus, DAQKF_SIZE_OFFSET, &word));
  device->pes = FIELD(word, SIZE_PES);
  device->lanes = FIELD(word, SIZE_LANES);
  TRY(get(bus, DAQKF_MAX_FEATURES_OFFSET, &device->max_features));
  TRY(get(bus, DAQKF_MAX_OUTPUTS_OFFSET, &device->max_outputs));
  TRY(get(bus, DAQKF_CAPABILITY_OFFSET, &word));
  device->variants = FIELD(word, CAPABILITY_VARIANTS);
  device->kernels = FIELD(word, CAPABILITY_KERNELS);
  return FIELD(word, CAPABILITY_QUEUE) ? DAQKF_OK : DAQKF_ERROR_NO_QUEUE;
}

enum daqkf_result daqkf_open(struct daqkf_device *device, const struct daqkf_bus *bus,
                             uint32_t fingerprint) {
  device->bus = bus;
  device->timeout_microseconds = DEFAULT_MICROSECONDS;
  device->timeout_polls = DEFAULT_POLLS;
  device->nap_microseconds = DEFAULT_NAP;
  device->settling_reads = DEFAULT_SETTLING;
  device->queue = 0;
  device->size = 0;
  device->interrupts = 0;
  if (bus->memory % PAGE || bus->memory >> DAQKF_MEMORY_ADDRESS_BITS)
    return DAQKF_ERROR_ARGUMENT;
  TRY(identify(device));
  if (fingerprint && fingerprint != device->fingerprint)
    return DAQKF_ERROR_FINGERPRINT;
  return daqkf_recover(device);
}

static uint32_t little_endian(const uint8_t *bytes) {
  return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

enum daqkf_result daqkf_program_fingerprint(const void *image, size_t bytes,
                                            uint32_t *fingerprint) {
  const uint8_t *header = image;
  if (bytes < DAQKF_IMAGE_CRC_OFFSET + sizeof(uint32_t) ||
      little_endian(header + DAQKF_IMAGE_MAGIC_OFFSET) != DAQKF_ID_MAGIC_EXPECTED ||
      little_endian(header + DAQKF_IMAGE_VERSION_OFFSET) != DAQKF_VERSION_IMAGE_EXPECTED)
    return DAQKF_ERROR_PROGRAM;
  *fingerprint = little_endian(header + DAQKF_IMAGE_FINGERPRINT_OFFSET);
  return DAQKF_OK;
}

enum daqkf_result daqkf_recover(struct daqkf_device *device) {
  const struct daqkf_bus *bus = device->bus;
  uint32_t word;
  device->tail = device->head = device->rung = 0;
  device->failed_job = device->array_error = 0;
  TRY(put(bus, DAQKF_CONTROL_OFFSET, DAQKF_CONTROL_SOFT_RESET_MASK));
  for (uint32_t reads = 0; reads < device->settling_reads; ++reads)
    TRY(get(bus, DAQKF_QUEUE_STATUS_OFFSET, &word));
  TRY(put(bus, DAQKF_INTERRUPT_ENABLE_OFFSET, bus->wait ? EVENTS : 0));
  return put(bus, DAQKF_INTERRUPT_STATUS_OFFSET, UINT32_MAX);
}

/* ---- The queue --------------------------------------------------------------------------- */

/* Counts of jobs are modulo twice the size of the queue. */
static uint32_t jobs_from(const struct daqkf_device *device, uint32_t begin, uint32_t end) {
  return end >= begin ? end - begin : end + 2 * device->size - begin;
}

static uint32_t after(const struct daqkf_device *device, uint32_t job) {
  return job + 1 == 2 * device->size ? 0 : job + 1;
}

enum daqkf_result daqkf_set_queue(struct daqkf_device *device, uint64_t address, uint32_t size) {
  const struct daqkf_bus *bus = device->bus;
  if (!aligned(address) || !size || size > DAQKF_QUEUE_SIZE_COUNT_MASK)
    return DAQKF_ERROR_ARGUMENT;
  if (!has_memory(bus, address, (uint64_t)size * DAQKF_DESCRIPTOR_BYTES))
    return DAQKF_ERROR_MEMORY_SIZE;
  TRY(daqkf_recover(device));
  TRY(put(bus, DAQKF_QUEUE_BASE_LOW_OFFSET, (uint32_t)address));
  TRY(put(bus, DAQKF_QUEUE_BASE_HIGH_OFFSET, (uint32_t)(address >> 32)));
  TRY(put(bus, DAQKF_QUEUE_SIZE_OFFSET, size));
  device->queue = address;
  device->size = size;
  return DAQKF_OK;
}

/* The bytes of some rows. Processors without a multiplication would need a library for it. */
static uint64_t bytes_of(const struct daqkf_device *device, uint32_t rows) {
  uint64_t bytes = 0, part = rows;
  for (uint32_t lanes = device->lanes; lanes; lanes >>= 1, part += part)
    if (lanes & 1)
      bytes += part;
  return bytes;
}

/* Whether a device would take a job, as far as it can be seen without its program. */
static enum daqkf_result check_job(const struct daqkf_device *device, const struct daqkf_job *job) {
  const struct daqkf_bus *bus = device->bus;
  const uint32_t flags = DAQKF_DESCRIPTOR_FLAGS_INTERRUPT | DAQKF_DESCRIPTOR_FLAGS_INDEPENDENT;
  if (!aligned(job->program) || !aligned(job->activations) || !aligned(job->results) ||
      job->program_words >> DAQKF_DESCRIPTOR_PROGRAM_WORDS_BITS || !job->activation_rows ||
      job->activation_rows >> DAQKF_DESCRIPTOR_ACTIVATION_ROWS_BITS ||
      job->result_rows >> DAQKF_DESCRIPTOR_RESULT_ROWS_BITS || job->flags & ~flags)
    return DAQKF_ERROR_ARGUMENT;
  if ((job->program_words &&
       !has_memory(bus, job->program, sizeof(uint32_t) * (uint64_t)job->program_words)) ||
      !has_memory(bus, job->activations, bytes_of(device, job->activation_rows)) ||
      (job->result_rows && !has_memory(bus, job->results, bytes_of(device, job->result_rows))))
    return DAQKF_ERROR_MEMORY_SIZE;
  return DAQKF_OK;
}

static void set_word(uint32_t *descriptor, uint32_t offset, uint32_t word) {
  uint8_t *bytes = (uint8_t *)(descriptor + offset / sizeof(uint32_t));
  for (unsigned index = 0; index < sizeof(uint32_t); ++index)
    bytes[index] = (uint8_t)(word >> 8 * index);
}

static void set_address(uint32_t *descriptor, uint32_t offset, uint64_t address) {
  set_word(descriptor, offset, (uint32_t)address);
  set_word(descriptor, offset + (uint32_t)sizeof(uint32_t), (uint32_t)(address >> 32));
}

static enum daqkf_result add(struct daqkf_device *device, const struct daqkf_job *job,
                             uint32_t more_flags) {
  uint32_t descriptor[DAQKF_DESCRIPTOR_BYTES / sizeof(uint32_t)];
  if (!device->size)
    return DAQKF_ERROR_NO_RING;
  TRY(check_job(device, job));
  if (jobs_from(device, device->head, device->tail) == device->size) {
    uint32_t pending;
    TRY(daqkf_look(device, &pending));
    if (jobs_from(device, device->head, device->tail) == device->size)
      return DAQKF_ERROR_FULL;
  }
  /* What follows the flags is not looked at, but need not be anybody's stack. */
  for (uint32_t offset = DAQKF_DESCRIPTOR_FLAGS_OFFSET; offset < DAQKF_DESCRIPTOR_BYTES;
       offset += (uint32_t)sizeof(uint32_t))
    *(volatile uint32_t *)(descriptor + offset / sizeof(uint32_t)) = 0;
  set_address(descriptor, DAQKF_DESCRIPTOR_PROGRAM_OFFSET, job->program);
  set_address(descriptor, DAQKF_DESCRIPTOR_ACTIVATIONS_OFFSET, job->activations);
  set_address(descriptor, DAQKF_DESCRIPTOR_RESULTS_OFFSET, job->results);
  set_word(descriptor, DAQKF_DESCRIPTOR_PROGRAM_WORDS_OFFSET, job->program_words);
  set_word(descriptor, DAQKF_DESCRIPTOR_ACTIVATION_ROWS_OFFSET, job->activation_rows);
  set_word(descriptor, DAQKF_DESCRIPTOR_RESULT_ROWS_OFFSET, job->result_rows);
  set_word(descriptor, DAQKF_DESCRIPTOR_FLAGS_OFFSET, job->flags | more_flags);
  const uint32_t slot = device->tail < device->size ? device->tail : device->tail - device->size;
  const uint64_t address = device->queue + (uint64_t)slot * DAQKF_DESCRIPTOR_BYTES;
  TRY(store(device->bus, address, descriptor, sizeof(descriptor)));
  device->tail = after(device, device->tail);
  return DAQKF_OK;
}

enum daqkf_result daqkf_add(struct daqkf_device *device, const struct daqkf_job *job) {
  return add(device, job, 0);
}

enum daqkf_result daqkf_ring(struct daqkf_device *device) {
  if (!device->size)
    return DAQKF_ERROR_NO_RING;
  device->rung = device->tail;
  DAQKF_BARRIER();
  return put(device->bus, DAQKF_QUEUE_DOORBELL_OFFSET,
             DAQKF_QUEUE_DOORBELL_RING_MASK | device->tail << DAQKF_QUEUE_DOORBELL_TAIL_SHIFT);
}

/* Whether the device is still there, and has our queue: nobody has reset it or taken it over. */
static enum daqkf_result check_owner(struct daqkf_device *device) {
  const struct daqkf_bus *bus = device->bus;
  uint32_t id, low, size;
  TRY(get(bus, DAQKF_ID_OFFSET, &id));
  if (id != DAQKF_ID_MAGIC_EXPECTED)
    return DAQKF_ERROR_BUS;
  TRY(get(bus, DAQKF_QUEUE_BASE_LOW_OFFSET, &low));
  TRY(get(bus, DAQKF_QUEUE_SIZE_OFFSET, &size));
  return low == (uint32_t)device->queue && size == device->size ? DAQKF_OK : DAQKF_ERROR_LOST;
}

/* What a word of queue_status says: an error, that the device is not ours, or how far it is. */
static enum daqkf_result judge(struct daqkf_device *device, uint32_t status, uint32_t *pending) {
  const uint32_t error = FIELD(status, QUEUE_STATUS_ERROR), head = FIELD(status, QUEUE_STATUS_HEAD);
  if (error) {
    uint32_t word;
    TRY(check_owner(device)); /* a bus that is dead often reads as ones */
    TRY(get(device->bus, DAQKF_STATUS_OFFSET, &word));
    device->failed_job = head;
    device->array_error = FIELD(word, STATUS_ERROR);
    return DAQKF_ERROR_OF_QUEUE(error);
  }
  if (head >= 2 * device->size ||
      jobs_from(device, device->head, head) > jobs_from(device, device->head, device->rung) ||
      (!FIELD(status, QUEUE_STATUS_ACTIVE) && head != device->rung))
    return DAQKF_ERROR_LOST;
  device->head = head;
  *pending = jobs_from(device, head, device->rung);
  return DAQKF_OK;
}

enum daqkf_result daqkf_look(struct daqkf_device *device, uint32_t *pending) {
  uint32_t status;
  TRY(get(device->bus, DAQKF_QUEUE_STATUS_OFFSET, &status));
  enum daqkf_result result = judge(device, status, pending);
  if (result == DAQKF_ERROR_LOST) {
    /* A doorbell that has just been rung may need a moment. */
    TRY(check_owner(device));
    TRY(get(device->bus, DAQKF_QUEUE_STATUS_OFFSET, &status));
    result = judge(device, status, pending);
  }
  return result;
}

/* How long nothing has happened. */
struct patience {
  uint64_t begin;
  uint32_t polls, microseconds;
};

static void restart(const struct daqkf_device *device, struct patience *patience) {
  patience->begin = device->bus->clock ? device->bus->clock(device->bus->context) : 0;
  patience->polls = patience->microseconds = 0;
}

static bool over(const struct daqkf_device *device, struct patience *patience) {
  const struct daqkf_bus *bus = device->bus;
  const uint32_t limit = device->timeout_microseconds;
  if (bus->clock)
    return limit && bus->clock(bus->context) - patience->begin >= limit;
  if (limit && patience->microseconds >= limit)
    return true;
  return device->timeout_polls && ++patience->polls >= device->timeout_polls;
}

/* Let a nap pass, or less if an interrupt ends it. */
static enum daqkf_result nap(struct daqkf_device *device, struct patience *patience) {
  const struct daqkf_bus *bus = device->bus;
  if (!bus->wait)
    return DAQKF_OK;
  if (!bus->wait(bus->context, device->nap_microseconds)) {
    patience->microseconds += device->nap_microseconds;
    return DAQKF_OK;
  }
  /* Acknowledged before the queue is looked at again: what comes later interrupts again. */
  ++device->interrupts;
  return put(bus, DAQKF_INTERRUPT_STATUS_OFFSET, EVENTS);
}

enum daqkf_result daqkf_wait(struct daqkf_device *device) {
  struct patience patience;
  if (!device->size)
    return DAQKF_ERROR_NO_RING;
  restart(device, &patience);
  for (;;) {
    const uint32_t head = device->head;
    uint32_t pending;
    TRY(daqkf_look(device, &pending));
    if (!pending)
      return put(device->bus, DAQKF_INTERRUPT_STATUS_OFFSET, EVENTS);
    if (head != device->head)
      restart(device, &patience);
    else if (over(device, &patience)) {
      TRY(check_owner(device));
      return DAQKF_ERROR_TIME_OUT;
    }
    TRY(nap(device, &patience));
  }
}

static enum daqkf_result run(struct daqkf_device *device, const struct daqkf_job *jobs,
                             size_t count) {
  for (size_t number = 0; number < count; ++number) {
    if (jobs_from(device, device->head, device->tail) == device->size) {
      TRY(daqkf_ring(device));
      TRY(daqkf_wait(device));
    }
    /* The last one for which there is room interrupts, too. */
    const bool fills = jobs_from(device, device->head, device->tail) + 1 == device->size;
    const bool last = fills || number + 1 == count;
    TRY(add(device, &jobs[number], last ? DAQKF_DESCRIPTOR_FLAGS_INTERRUPT : 0));
  }
  TRY(daqkf_ring(device));
  return daqkf_wait(device);
}

/* After an error the device is made ready, and what the error was is kept. */
static enum daqkf_result ready(struct daqkf_device *device, enum daqkf_result result) {
  if (result != DAQKF_OK) {
    const uint32_t failed_job = device->failed_job, array_error = device->array_error;
    if (daqkf_recover(device) != DAQKF_OK)
      device->size = 0; /* nobody knows what the device does: daqkf_set_queue tries again */
    device->failed_job = failed_job;
    device->array_error = array_error;
  }
  return result;
}

enum daqkf_result daqkf_run(struct daqkf_device *device, const struct daqkf_job *jobs,
                            size_t count) {
  if (!count)
    return DAQKF_OK;
  return device->size ? ready(device, run(device, jobs, count)) : DAQKF_ERROR_NO_RING;
}

static enum daqkf_result play(struct daqkf_device *device, const struct daqkf_queue *queue) {
  const struct daqkf_bus *bus = device->bus;
  const uint64_t descriptors = (uint64_t)queue->jobs * DAQKF_DESCRIPTOR_BYTES;
  if ((size_t)queue->bytes != queue->bytes || queue->descriptors < queue->address ||
      descriptors > queue->bytes ||
      queue->descriptors - queue->address > queue->bytes - descriptors)
    return DAQKF_ERROR_ARGUMENT;
  if (!has_memory(bus, queue->address, queue->bytes))
    return DAQKF_ERROR_MEMORY_SIZE;
  TRY(daqkf_set_queue(device, queue->descriptors, queue->jobs));
  if (queue->content)
    TRY(store(bus, queue->address, queue->content, (size_t)queue->bytes));
  else if (bus->flush)
    bus->flush(bus->context, queue->address, queue->bytes);
  device->tail = queue->jobs;
  TRY(daqkf_ring(device));
  TRY(daqkf_wait(device));
  if (bus->invalidate)
    bus->invalidate(bus->context, queue->address, queue->bytes);
  return DAQKF_OK;
}

enum daqkf_result daqkf_play(struct daqkf_device *device, const struct daqkf_queue *queue) {
  device->failed_job = device->array_error = 0;
  return ready(device, play(device, queue));
}

/* ---- Counters ---------------------------------------------------------------------------- */

static enum daqkf_result count(const struct daqkf_bus *bus, uint32_t low, uint32_t high,
                               uint64_t *counter) {
  uint32_t words[2];
  TRY(get(bus, low, &words[0]));
  TRY(get(bus, high, &words[1]));
  *counter = words[0] | (uint64_t)words[1] << 32;
  return DAQKF_OK;
}

#define COUNT(name, NAME)                                                                          \
  TRY(count(device->bus, DAQKF_##NAME##_LOW_OFFSET, DAQKF_##NAME##_HIGH_OFFSET, &counters->name))

enum daqkf_result daqkf_count(struct daqkf_device *device, struct daqkf_counters *counters,
                              bool clear) {
  const uint32_t both = DAQKF_CONTROL_SNAPSHOT_MASK | (clear ? DAQKF_CONTROL_CLEAR_MASK : 0);
  TRY(put(device->bus, DAQKF_CONTROL_OFFSET, both));
  COUNT(cycles, CYCLES);
  COUNT(busy, BUSY);
  COUNT(y_stalled, Y_STALLED);
  COUNT(x_stalled, X_STALLED);
  COUNT(x_starved, X_STARVED);
  COUNT(tiles, TILES);
  COUNT(zeros, ZEROS);
  return DAQKF_OK;
}

/* ---- Messages ---------------------------------------------------------------------------- */

static const char *queue_message(uint32_t error) {
  switch (error) {
  case DAQKF_QUEUE_STATUS_ERROR_DOORBELL:
    return "the queue stopped: the doorbell's tail is not below twice the size of the queue";
  case DAQKF_QUEUE_STATUS_ERROR_ADDRESS:
    return "the queue stopped: an address is no multiple of 64, or beyond what the device reaches";
  case DAQKF_QUEUE_STATUS_ERROR_DESCRIPTOR:
    return "the queue stopped: a descriptor has no rows of activations, or bits that mean nothing";
  case DAQKF_QUEUE_STATUS_ERROR_READ:
    return "the queue stopped: memory answered a read with an error";
  case DAQKF_QUEUE_STATUS_ERROR_WRITE:
    return "the queue stopped: memory answered a write with an error";
  case DAQKF_QUEUE_STATUS_ERROR_TIMEOUT:
    return "the queue stopped: memory did not answer";
  case DAQKF_QUEUE_STATUS_ERROR_PROGRAM:
    return "the queue stopped: the array refused a program";
  case DAQKF_QUEUE_STATUS_ERROR_TILES:
    return "the queue stopped: a program is for a number of tiles, and not for any";
  case DAQKF_QUEUE_STATUS_ERROR_RESULTS:
    return "the queue stopped: a job has fewer rows of results than its program gives";
  case DAQKF_QUEUE_STATUS_ERROR_STALLED:
    return "the queue stopped: nothing moved, so the rows of a job are not those of its program";
  case DAQKF_QUEUE_STATUS_ERROR_ARRAY:
    return "the queue stopped: the array failed";
  case DAQKF_QUEUE_STATUS_ERROR_OVERRUN:
    return "the queue stopped: there were more jobs than descriptors";
  default:
    return "the queue stopped with an error that this driver does not know";
  }
}

const char *daqkf_message(enum daqkf_result result) {
  switch (result) {
  case DAQKF_OK:
    return "done";
  case DAQKF_ERROR_ARGUMENT:
    return "an address or a count is one that a device would refuse";
  case DAQKF_ERROR_BUS:
    return "the bus to the device failed, or loses what is written to it";
  case DAQKF_ERROR_NO_DEVICE:
    return "no DAQKF system is at this address";
  case DAQKF_ERROR_MAP_VERSION:
    return "the registers of the device are of another version than this driver's";
  case DAQKF_ERROR_IMAGE_VERSION:
    return "the device takes program images of another version";
  case DAQKF_ERROR_NO_QUEUE:
    return "the device has no queue; compile for a target with queue = true";
  case DAQKF_ERROR_FINGERPRINT:
    return "the circuit is not the one that the programs are for: load its bitstream, or compile "
           "for it";
  case DAQKF_ERROR_PROGRAM:
    return "this is no program image of this driver's version";
  case DAQKF_ERROR_NO_RING:
    return "the queue has not been set up";
  case DAQKF_ERROR_FULL:
    return "all descriptors of the queue are in use";
  case DAQKF_ERROR_MEMORY_SIZE:
    return "the memory of the device is too small, or does not begin there";
  case DAQKF_ERROR_TIME_OUT:
    return "no job ended in time";
  case DAQKF_ERROR_LOST:
    return "somebody else has reset the device or uses it";
  case DAQKF_ERROR_OWNED:
    return "somebody else has opened the device";
  case DAQKF_ERROR_SYSTEM:
    return "the operating system refused";
  case DAQKF_ERROR_QUEUE:
    break;
  }
  return queue_message((uint32_t)result - (uint32_t)DAQKF_ERROR_QUEUE);
}

const char *daqkf_array_message(uint32_t error) {
  switch (error) {
  case DAQKF_STATUS_ERROR_NONE:
    return "the array has no error";
  case DAQKF_STATUS_ERROR_MAGIC:
    return "what was loaded is no program image";
  case DAQKF_STATUS_ERROR_VERSION:
    return "the program image is of another version";
  case DAQKF_STATUS_ERROR_FINGERPRINT:
    return "the program is for another array";
  case DAQKF_STATUS_ERROR_COMMAND:
    return "the program has an unknown command, or is too large for a memory of the array";
  case DAQKF_STATUS_ERROR_LENGTH:
    return "the program image is too short or too long";
  case DAQKF_STATUS_ERROR_CHECKSUM:
    return "the program image is damaged";
  case DAQKF_STATUS_ERROR_MEMORY:
    return "memory answered a read of streams with an error";
  case DAQKF_STATUS_ERROR_TIMEOUT:
    return "memory did not answer a read of streams";
  case DAQKF_STATUS_ERROR_STREAM:
    return "a stream in memory is damaged";
  default:
    return "the array has an error that this driver does not know";
  }
}
