/* Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
   SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

   A driver for daqkf_system with a queue, in C99. It allocates nothing and calls nothing of a C
   library, so that firmware, programs of Linux and simulations share it. docs/drivers.md shows how
   to use it. daqkf_registers.h is what `daqkf-translate --to c-header` writes.

   A device belongs to one thread. Addresses are those that the device sees on m_axi_data. */

#ifndef DAQKF_H
#define DAQKF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daqkf_registers.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What became of a call. Functions give the first thing that went wrong. */
enum daqkf_result {
  DAQKF_OK = 0,
  DAQKF_ERROR_ARGUMENT,      /* an address or a count that a device would refuse */
  DAQKF_ERROR_BUS,           /* the bus said that it failed, or loses what is written */
  DAQKF_ERROR_NO_DEVICE,     /* what answers is no daqkf_system */
  DAQKF_ERROR_MAP_VERSION,   /* the registers are not those of this driver */
  DAQKF_ERROR_IMAGE_VERSION, /* the device takes program images of another version */
  DAQKF_ERROR_NO_QUEUE,      /* the device takes its jobs over streams */
  DAQKF_ERROR_FINGERPRINT,   /* the circuit is not the one that the programs are for */
  DAQKF_ERROR_PROGRAM,       /* this is no program image, or one of another version */
  DAQKF_ERROR_NO_RING,       /* jobs before daqkf_set_queue */
  DAQKF_ERROR_FULL,          /* all descriptors of the queue are in use */
  DAQKF_ERROR_MEMORY_SIZE,   /* the device's memory is too small */
  DAQKF_ERROR_TIME_OUT,      /* no job ended for as long as was to be waited */
  DAQKF_ERROR_LOST,          /* the device was reset, or has another queue, while jobs ran */
  DAQKF_ERROR_OWNED,         /* somebody else has opened the device */
  DAQKF_ERROR_SYSTEM,        /* the operating system refused; errno says why */
  /* The queue stopped. Its errors follow from here on: DAQKF_QUEUE_STATUS_ERROR_… */
  DAQKF_ERROR_QUEUE = 64
};

/* What the error of a queue is among the results. */
#define DAQKF_ERROR_OF_QUEUE(error) ((enum daqkf_result)((unsigned)DAQKF_ERROR_QUEUE + (error)))

/* A sentence that says what a result means. Never NULL. */
const char *daqkf_message(enum daqkf_result result);

/* The same of an error of the array: the field status.error, kept in daqkf_device.array_error. */
const char *daqkf_array_message(uint32_t error);

/* How registers and memory are reached. The functions get `context`, and return whether they have
   worked. Those below `memory_bytes` may be NULL. */
struct daqkf_bus {
  void *context;
  bool (*read_register)(void *context, uint32_t offset, uint32_t *word);
  bool (*write_register)(void *context, uint32_t offset, uint32_t word);
  bool (*read_memory)(void *context, uint64_t address, void *bytes, size_t count);
  bool (*write_memory)(void *context, uint64_t address, const void *bytes, size_t count);
  uint64_t memory;       /* the address from which on memory is the device's, a multiple of 4096 */
  uint64_t memory_bytes; /* how much of it there is */

  /* Wait for an interrupt, so many microseconds at most, and return whether one came. Without it,
     or if interrupts get lost, the driver polls. */
  bool (*wait)(void *context, uint32_t microseconds);
  /* A time in microseconds that goes on; without it, time-outs are counted in polls. */
  uint64_t (*clock)(void *context);
  /* For caches that the device does not see: write them back before the device reads, and forget
     them before the host reads what the device has written. */
  void (*flush)(void *context, uint64_t address, uint64_t count);
  void (*invalidate)(void *context, uint64_t address, uint64_t count);
};

/* Registers and memory that are mapped into the address space of the host. */
struct daqkf_mapping {
  volatile uint32_t *registers;
  volatile uint8_t *memory; /* where the host sees daqkf_bus.memory; of any alignment of 8 */
  uint64_t address;         /* where the device sees the same byte, a multiple of 4096 */
  uint64_t bytes;
};

/* The bus of a mapping, which has to stay where it is. Its optional functions are NULL. */
void daqkf_map(struct daqkf_bus *bus, struct daqkf_mapping *mapping);

/* An opened device. Fields are to be read, except for the four that say how long to wait. */
struct daqkf_device {
  const struct daqkf_bus *bus;
  uint32_t timeout_microseconds; /* no job ends for so long: DAQKF_ERROR_TIME_OUT; 0: for ever */
  uint32_t timeout_polls;        /* the same without a clock */
  uint32_t nap_microseconds;     /* how long to wait for one interrupt before looking anyway */
  uint32_t settling_reads;       /* reads of a register after a soft reset, which let memory end
                                    what it had been asked for */
  uint32_t fingerprint;
  uint32_t pes, lanes, max_features, max_outputs, kernels, variants;
  uint64_t queue;       /* the address of the descriptors */
  uint32_t size;        /* how many there are; 0 before daqkf_set_queue */
  uint32_t tail, head;  /* jobs written, and jobs known to be done, modulo 2 * size */
  uint32_t rung;        /* the tail that the device knows */
  uint32_t failed_job;  /* the job in which the queue stopped, as `head` */
  uint32_t array_error; /* status.error then: DAQKF_STATUS_ERROR_… */
  uint32_t interrupts;  /* interrupts that have come */
};

/* Look for a device behind a bus, check that it is what programs with this fingerprint are for (0: for
   any), and reset it. It may have been in any state. On an error nothing but a reset was done. */
enum daqkf_result daqkf_open(struct daqkf_device *device, const struct daqkf_bus *bus,
                             uint32_t fingerprint);

/* The fingerprint in the header of a program image, of which so many bytes are there. */
enum daqkf_result daqkf_program_fingerprint(const void *image, size_t bytes, uint32_t *fingerprint);

/* A soft reset, after which jobs count from 0 on and no event is left: a way out of every error.
   The queue keeps its address and its size. */
enum daqkf_result daqkf_recover(struct daqkf_device *device);

/* Say where descriptors are to be, and how many. Jobs that are not done are lost. */
enum daqkf_result daqkf_set_queue(struct daqkf_device *device, uint64_t address, uint32_t size);

/* What a descriptor says; docs/hardware-interface.md explains it. */
struct daqkf_job {
  uint64_t program, activations, results;
  uint32_t program_words, activation_rows, result_rows;
  uint32_t flags; /* DAQKF_DESCRIPTOR_FLAGS_INTERRUPT and …_INDEPENDENT */
};

/* Write the descriptor of a job. The device looks at it when the doorbell rings. */
enum daqkf_result daqkf_add(struct daqkf_device *device, const struct daqkf_job *job);

/* Ring the doorbell for all jobs that were added. */
enum daqkf_result daqkf_ring(struct daqkf_device *device);

/* See how far the queue is, without waiting. `pending` gets the jobs that are not done. */
enum daqkf_result daqkf_look(struct daqkf_device *device, uint32_t *pending);

/* Wait until all jobs of the last doorbell are done: for interrupts if the bus has them, and never
   only for them. After an error, daqkf_recover makes the device usable. */
enum daqkf_result daqkf_wait(struct daqkf_device *device);

/* Add jobs, ring and wait; any number of them. The last one interrupts. */
enum daqkf_result daqkf_run(struct daqkf_device *device, const struct daqkf_job *jobs, size_t count);

/* A queue whose descriptors are in memory already, as `daqkf run --queues` records it. */
struct daqkf_queue {
  uint64_t address;    /* of its first byte */
  const void *content; /* NULL if memory holds it */
  uint64_t bytes;
  uint64_t descriptors; /* the address of the first one */
  uint32_t jobs;
};

/* Write a queue's content, run all of its jobs, and wait. An error leaves the device ready for the
   next queue. */
enum daqkf_result daqkf_play(struct daqkf_device *device, const struct daqkf_queue *queue);

/* Read and write memory of the device, with its caches minded. */
enum daqkf_result daqkf_store(struct daqkf_device *device, uint64_t address, const void *bytes,
                              size_t count);
enum daqkf_result daqkf_load(struct daqkf_device *device, uint64_t address, void *bytes,
                             size_t count);

/* What the device has counted, all of one cycle. */
struct daqkf_counters {
  uint64_t cycles, busy, y_stalled, x_stalled, x_starved, tiles, zeros;
};

/* Take the counters, and set them to 0 at the same time if `clear` says so. */
enum daqkf_result daqkf_count(struct daqkf_device *device, struct daqkf_counters *counters,
                              bool clear);

#ifdef __cplusplus
}
#endif

#endif
