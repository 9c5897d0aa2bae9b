/* Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
   SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */

#include "daqkf_network.h"

enum { RING = 64 };

#define TRY(call)                                                                                  \
  do {                                                                                             \
    const enum daqkf_result tried = (call);                                                        \
    if (tried != DAQKF_OK)                                                                         \
      return tried;                                                                                \
  } while (0)

/* ---- Numbers ----------------------------------------------------------------------------- */

/* Halves go to the even neighbour, as rint does; adding and taking away a number whose neighbours are
   integers rounds so. Far beyond any extra column, nothing differs. */
static int32_t rounded(double value) {
  const double magic = 6755399441055744.0, far = 1e6;
  if (!(value > -far))
    return value < 0 ? (int32_t)-far : 0; /* also of what is no number */
  if (value > far)
    return (int32_t)far;
  volatile double sum = value + magic;
  return (int32_t)(sum - magic);
}

static int32_t clamped(int32_t value, int32_t low, int32_t high) {
  return value < low ? low : value > high ? high : value;
}

static int32_t level(const struct daqkf_scales *scales, uint32_t feature, float value) {
  if (scales->factor != 0)
    return rounded((double)value * scales->factor);
  return rounded((double)value / scales->scale[scales->scales > 1 ? feature : 0]);
}

/* What an extra column carries, the rank-th of its feature, of a level. */
static int32_t carried(int32_t whole, int32_t rank) {
  return clamped(whole - 127 * rank, 0, 127) + clamped(whole + 128 * rank, -128, 0);
}

/* A token's integers, in a lane of a tile. */
static void quantize(const struct daqkf_kernel *kernel, const float *x, int8_t *tile,
                     uint32_t lanes) {
  const struct daqkf_scales *scales = &kernel->in;
  int32_t rank = 0;
  for (uint32_t feature = 0; feature < kernel->features; ++feature)
    tile[(size_t)feature * lanes] = (int8_t)clamped(level(scales, feature, x[feature]), -128, 127);
  for (uint32_t column = 0; column < scales->extra; ++column) {
    const uint32_t feature = scales->split[column];
    rank = column && scales->split[column - 1] == feature ? rank + 1 : 1;
    tile[(size_t)(kernel->features + column) * lanes] =
        (int8_t)carried(level(scales, feature, x[feature]), rank);
  }
}

static int32_t result(const int8_t *tile, uint32_t lanes, uint32_t output, bool wide) {
  if (!wide)
    return tile[(size_t)output * lanes];
  const int32_t low = (uint8_t)tile[(size_t)2 * output * lanes];
  return low + 256 * tile[((size_t)2 * output + 1) * lanes];
}

static void dequantize(const struct daqkf_kernel *kernel, bool wide, const int8_t *tile,
                       uint32_t lanes, float *y) {
  const struct daqkf_scales *scales = &kernel->out;
  for (uint32_t output = 0, column = 0; output < kernel->outputs; ++output) {
    double whole = result(tile, lanes, output, wide);
    for (; column < scales->extra && scales->split[column] == output; ++column)
      whole += result(tile, lanes, kernel->outputs + column, wide);
    y[output] = (float)(whole * scales->scale[scales->scales > 1 ? output : 0]);
  }
}

/* ---- Jobs -------------------------------------------------------------------------------- */

struct run {
  struct daqkf_device *device;
  const struct daqkf_room *room;
  const struct daqkf_program *loaded;
  uint64_t results, results_end; /* those of the job before */
  uint32_t jobs;
};

static uint64_t aligned(uint64_t bytes) {
  const uint64_t unit = DAQKF_DESCRIPTOR_BYTES;
  return (bytes + unit - 1) / unit * unit;
}

static uint32_t tiles_of(const struct run *run, uint32_t tokens) {
  return (tokens + run->device->lanes - 1) / run->device->lanes;
}

static uint32_t result_rows(const struct daqkf_program *program) {
  return program->wide ? 2 * program->outputs : program->outputs;
}

/* Bytes of all tiles of a sequence, with so many rows each. */
static uint64_t bytes_of(const struct run *run, uint32_t tokens, uint32_t rows) {
  return aligned((uint64_t)tiles_of(run, tokens) * rows * run->device->lanes);
}

static enum daqkf_result add(struct run *run, const struct daqkf_program *program,
                             uint64_t activations, uint32_t activation_rows, uint64_t results,
                             uint32_t rows, bool last) {
  const uint32_t lanes = run->device->lanes;
  const uint64_t end = activations + (uint64_t)activation_rows * lanes;
  const bool stays = run->loaded == program, ring_ends = ++run->jobs % RING == 0;
  const bool depends = run->results < end && activations < run->results_end;
  const struct daqkf_job job = {
      .program = stays ? 0 : program->address,
      .program_words = stays ? 0 : program->words,
      .activations = activations,
      .activation_rows = activation_rows,
      .results = results,
      .result_rows = rows,
      .flags = (depends ? 0 : DAQKF_DESCRIPTOR_FLAGS_INDEPENDENT) |
               (last || ring_ends ? DAQKF_DESCRIPTOR_FLAGS_INTERRUPT : 0),
  };
  run->loaded = program;
  run->results = results;
  run->results_end = results + (uint64_t)rows * lanes;
  TRY(daqkf_add(run->device, &job));
  if (!last && !ring_ends)
    return DAQKF_OK;
  TRY(daqkf_ring(run->device));
  return daqkf_wait(run->device);
}

/* Write the rows with the number of tokens of a sequence, which fill a row. */
static enum daqkf_result store_header(struct run *run, uint64_t address, uint32_t tokens) {
  for (uint32_t lane = 0; lane < run->device->lanes; ++lane)
    run->room->tile[lane] = (int8_t)(lane % 2 ? tokens >> 8 : tokens);
  return daqkf_store(run->device, address, run->room->tile, run->device->lanes);
}

/* Write the tiles of a sequence. Lanes without a token are 0. */
static enum daqkf_result store_tiles(struct run *run, const struct daqkf_kernel *kernel,
                                     uint64_t address, const float *x, uint32_t tokens) {
  const uint32_t lanes = run->device->lanes, rows = kernel->programs[0].features;
  const uint32_t bytes = rows * lanes;
  for (uint32_t first = 0; first < tokens; first += lanes, address += bytes) {
    for (uint32_t byte = 0; byte < bytes; ++byte)
      *(volatile int8_t *)(run->room->tile + byte) = 0;
    for (uint32_t lane = 0; lane < lanes && first + lane < tokens; ++lane)
      quantize(kernel, x + (size_t)(first + lane) * kernel->features, run->room->tile + lane, lanes);
    TRY(daqkf_store(run->device, address, run->room->tile, bytes));
  }
  return DAQKF_OK;
}

static enum daqkf_result load_tiles(struct run *run, const struct daqkf_kernel *kernel,
                                    uint64_t address, float *y, uint32_t tokens) {
  const struct daqkf_program *program = &kernel->programs[kernel->count - 1];
  const uint32_t lanes = run->device->lanes, bytes = result_rows(program) * lanes;
  for (uint32_t first = 0; first < tokens; first += lanes, address += bytes) {
    TRY(daqkf_load(run->device, address, run->room->tile, bytes));
    for (uint32_t lane = 0; lane < lanes && first + lane < tokens; ++lane)
      dequantize(kernel, program->wide, run->room->tile + lane, lanes,
                 y + (size_t)(first + lane) * kernel->outputs);
  }
  return DAQKF_OK;
}

/* The jobs of a program for a sequence whose tiles are in memory. Of attention they come twice. */
static enum daqkf_result run_program(struct run *run, const struct daqkf_program *program,
                                     uint64_t header, uint64_t tiles, uint64_t results,
                                     uint32_t tokens, bool last) {
  const uint32_t count = tiles_of(run, tokens), rows = count * program->features;
  if (program->attends) {
    TRY(add(run, program, header, 1, 0, 0, false));
    TRY(add(run, program, tiles, rows, 0, 0, false));
  }
  return add(run, program, tiles, rows, results, count * result_rows(program), last);
}

static enum daqkf_result check(const struct run *run, const struct daqkf_kernel *kernel,
                               const uint32_t *lengths, uint32_t sequences) {
  const uint32_t lanes = run->device->lanes;
  uint64_t needed = aligned((uint64_t)RING * DAQKF_DESCRIPTOR_BYTES);
  if (!sequences || !lanes || (!kernel->most_tokens && sequences != 1))
    return DAQKF_ERROR_ARGUMENT;
  for (uint32_t sequence = 0; sequence < sequences; ++sequence) {
    const uint32_t tokens = lengths[sequence];
    if (!tokens || (kernel->most_tokens && tokens > kernel->most_tokens))
      return DAQKF_ERROR_ARGUMENT;
    needed += aligned(lanes) + bytes_of(run, tokens, kernel->programs[0].features);
    for (uint32_t number = 0; number < kernel->count; ++number)
      needed += bytes_of(run, tokens, result_rows(&kernel->programs[number]));
  }
  for (uint32_t number = 0; number < kernel->count; ++number)
    if ((uint64_t)kernel->programs[number].features * lanes > run->room->tile_bytes ||
        (uint64_t)result_rows(&kernel->programs[number]) * lanes > run->room->tile_bytes)
      return DAQKF_ERROR_ARGUMENT;
  return needed > run->room->bytes ? DAQKF_ERROR_MEMORY_SIZE : DAQKF_OK;
}

static enum daqkf_result run_all(struct run *run, const struct daqkf_kernel *kernel,
                                 const uint32_t *lengths, uint32_t sequences, const float *x,
                                 float *y) {
  const uint64_t headers = run->room->address + aligned((uint64_t)RING * DAQKF_DESCRIPTOR_BYTES);
  const uint64_t header_bytes = aligned(run->device->lanes);
  const uint64_t begin = headers + sequences * header_bytes;
  TRY(check(run, kernel, lengths, sequences));
  TRY(daqkf_set_queue(run->device, run->room->address, RING));
  uint64_t next = begin;
  for (uint32_t sequence = 0; sequence < sequences; ++sequence) {
    const uint32_t tokens = lengths[sequence];
    TRY(store_header(run, headers + sequence * header_bytes, tokens));
    TRY(store_tiles(run, kernel, next, x, tokens));
    x += (size_t)tokens * kernel->features;
    next += bytes_of(run, tokens, kernel->programs[0].features);
  }
  uint64_t from = begin;
  for (uint32_t number = 0; number < kernel->count; ++number) {
    const struct daqkf_program *program = &kernel->programs[number];
    const uint64_t results = next;
    for (uint32_t sequence = 0; sequence < sequences; ++sequence) {
      const uint32_t tokens = lengths[sequence];
      const bool last = number + 1 == kernel->count && sequence + 1 == sequences;
      TRY(run_program(run, program, headers + sequence * header_bytes, from, next, tokens, last));
      from += bytes_of(run, tokens, program->features);
      next += bytes_of(run, tokens, result_rows(program));
    }
    from = results;
  }
  for (uint32_t sequence = 0; sequence < sequences; ++sequence) {
    const uint32_t tokens = lengths[sequence];
    TRY(load_tiles(run, kernel, from, y, tokens));
    y += (size_t)tokens * kernel->outputs;
    from += bytes_of(run, tokens, result_rows(&kernel->programs[kernel->count - 1]));
  }
  return DAQKF_OK;
}

enum daqkf_result daqkf_run_kernel(struct daqkf_device *device, const struct daqkf_kernel *kernel,
                                   const struct daqkf_room *room, const uint32_t *lengths,
                                   uint32_t sequences, const float *x, float *y) {
  struct run run = {.device = device, .room = room};
  const enum daqkf_result found = run_all(&run, kernel, lengths, sequences, x, y);
  if (found != DAQKF_OK) {
    const uint32_t failed_job = device->failed_job, array_error = device->array_error;
    daqkf_recover(device);
    device->failed_job = failed_job;
    device->array_error = array_error;
  }
  return found;
}

/* ---- Batches ----------------------------------------------------------------------------- */

static void copy(float *to, const float *from, uint32_t count) {
  for (uint32_t number = 0; number < count; ++number)
    to[number] = from[number];
}

static bool is_there(const struct daqkf_batch *batch, uint32_t sequence, uint32_t token) {
  return !batch->mask ||
         batch->mask[sequence * batch->mask_sequence + token * batch->mask_token] == 0;
}

static bool masks(const struct daqkf_batch *batch, uint32_t sequence, uint32_t token) {
  return is_there(batch, sequence, token) ||
         batch->mask[sequence * batch->mask_sequence + token * batch->mask_token] <= batch->absent;
}

enum daqkf_result daqkf_run_batch(struct daqkf_device *device, const struct daqkf_kernel *kernel,
                                  const struct daqkf_room *room, const struct daqkf_batch *batch,
                                  const float *x, float *y) {
  uint32_t sequences = 0;
  float *rows = batch->rows;
  const float *results = batch->results;
  for (uint32_t sequence = 0; sequence < batch->sequences; ++sequence) {
    uint32_t count = 0;
    for (uint32_t token = 0; token < batch->tokens; ++token) {
      if (!masks(batch, sequence, token))
        return DAQKF_ERROR_ARGUMENT;
      if (!is_there(batch, sequence, token))
        continue;
      copy(rows, x + ((size_t)sequence * batch->tokens + token) * kernel->features,
           kernel->features);
      rows += kernel->features;
      ++count;
    }
    if (count)
      batch->lengths[sequences++] = count;
  }
  if (sequences)
    TRY(daqkf_run_kernel(device, kernel, room, batch->lengths, sequences, batch->rows,
                         batch->results));
  for (uint32_t sequence = 0; sequence < batch->sequences; ++sequence)
    for (uint32_t token = 0; token < batch->tokens; ++token, y += kernel->outputs) {
      const bool there = is_there(batch, sequence, token);
      for (uint32_t output = 0; output < kernel->outputs; ++output)
        y[output] = there ? results[output] : 0;
      results += there ? kernel->outputs : 0;
    }
  return DAQKF_OK;
}
