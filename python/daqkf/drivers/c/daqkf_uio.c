/* Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
   SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */

#define _GNU_SOURCE /* flock, O_CLOEXEC, 64-bit offsets */
#define _FILE_OFFSET_BITS 64

#include "daqkf_uio.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { NAME = 256, MICROSECONDS = 1000 * 1000, NANOSECONDS = 1000 };

static uint64_t clock_now(void *context) {
  struct timespec now;
  (void)context;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * MICROSECONDS + (uint64_t)now.tv_nsec / NANOSECONDS;
}

/* UIO counts interrupts in a file: a word is written to allow the next one, and read when it came. */
static bool wait_for_interrupt(void *context, uint32_t microseconds) {
  const struct daqkf_mapping *mapping = context;
  const struct daqkf_uio *uio =
      (const struct daqkf_uio *)(const void *)((const char *)mapping -
                                               offsetof(struct daqkf_uio, mapping));
  struct pollfd waits = {.fd = uio->device_file, .events = POLLIN, .revents = 0};
  const uint32_t allow = 1;
  uint32_t number;
  if (write(uio->device_file, &allow, sizeof(allow)) != (ssize_t)sizeof(allow))
    return false;
  if (poll(&waits, 1, (int)(microseconds / 1000) + 1) <= 0)
    return false;
  return read(uio->device_file, &number, sizeof(number)) == (ssize_t)sizeof(number);
}

/* Without interrupts, a processor has better things to do than to look all the time. */
static bool sleep_instead(void *context, uint32_t microseconds) {
  const uint32_t most = 200;
  const struct timespec nap = {.tv_sec = 0,
                               .tv_nsec = (long)NANOSECONDS *
                                          (long)(microseconds < most ? microseconds : most)};
  (void)context;
  nanosleep(&nap, NULL);
  return false;
}

/* A number that the kernel tells of a u-dma-buf device. */
static bool read_fact(const char *device, const char *fact, uint64_t *value) {
  const char *slash = strrchr(device, '/');
  char path[NAME], text[64] = "";
  const char *name = slash ? slash + 1 : device;
  const int length = snprintf(path, sizeof(path), "/sys/class/u-dma-buf/%s/%s", name, fact);
  if (length < 0 || (size_t)length >= sizeof(path)) {
    errno = ENAMETOOLONG;
    return false;
  }
  FILE *file = fopen(path, "re");
  if (!file)
    return false;
  const bool read = fgets(text, (int)sizeof(text), file) != NULL &&
                    sscanf(text, "%" SCNi64, (int64_t *)value) == 1;
  fclose(file);
  if (!read)
    errno = EINVAL;
  return read;
}

static bool is_mem(const char *path) { return strcmp(path, "/dev/mem") == 0; }

/* Map part of a file whose offset need not be that of a page. */
static void *map(int file, uint64_t offset, uint64_t bytes, void **inside) {
  const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), within = offset % page;
  if (bytes > SIZE_MAX - within) {
    errno = EOVERFLOW;
    return NULL;
  }
  void *place = mmap(NULL, (size_t)(bytes + within), PROT_READ | PROT_WRITE, MAP_SHARED, file,
                     (off_t)(offset - within));
  if (place == MAP_FAILED)
    return NULL;
  *inside = (char *)place + within;
  return place;
}

static void unmap(void *place, const volatile void *inside, uint64_t bytes) {
  if (place)
    munmap(place, (size_t)((uintptr_t)inside - (uintptr_t)place + bytes));
}

/* Open a file, and for regular files see that it has what is to be mapped: else an access would end the
   process. */
static int open_file(const char *path, uint64_t end) {
  const int file = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
  if (file < 0)
    return -1;
  const off_t size = lseek(file, 0, SEEK_END);
  if (size > 0 && (uint64_t)size < end) {
    close(file);
    errno = ENXIO;
    return -1;
  }
  return file;
}

static enum daqkf_result open_registers(struct daqkf_uio *uio,
                                        const struct daqkf_uio_place *place) {
  void *inside;
  const uint64_t end = place->registers + DAQKF_MAP_BYTES;
  uio->device_file = open_file(place->device, is_mem(place->device) ? 0 : end);
  if (uio->device_file < 0)
    return DAQKF_ERROR_SYSTEM;
  /* Who has /dev/mem need not have the same device. */
  if (!is_mem(place->device) && flock(uio->device_file, LOCK_EX | LOCK_NB))
    return errno == EWOULDBLOCK ? DAQKF_ERROR_OWNED : DAQKF_ERROR_SYSTEM;
  uio->registers = map(uio->device_file, place->registers, DAQKF_MAP_BYTES, &inside);
  if (!uio->registers)
    return DAQKF_ERROR_SYSTEM;
  uio->mapping.registers = inside;
  return DAQKF_OK;
}

static enum daqkf_result open_memory(struct daqkf_uio *uio, const struct daqkf_uio_place *place) {
  void *inside;
  const bool mem = is_mem(place->memory);
  uint64_t address = place->address, bytes = place->bytes;
  if ((!address && !mem && !read_fact(place->memory, "phys_addr", &address)) ||
      (!bytes && !mem && !read_fact(place->memory, "size", &bytes)))
    return DAQKF_ERROR_SYSTEM;
  if (!bytes || address % 4096)
    return DAQKF_ERROR_ARGUMENT;
  uio->memory_file = open_file(place->memory, mem ? 0 : bytes);
  if (uio->memory_file < 0)
    return DAQKF_ERROR_SYSTEM;
  uio->memory = map(uio->memory_file, mem ? address : 0, bytes, &inside);
  if (!uio->memory)
    return DAQKF_ERROR_SYSTEM;
  uio->mapping.memory = inside;
  uio->mapping.address = address;
  uio->mapping.bytes = bytes;
  return DAQKF_OK;
}

enum daqkf_result daqkf_uio_open(struct daqkf_uio *uio, const struct daqkf_uio_place *place,
                                 uint32_t fingerprint) {
  uio->device_file = uio->memory_file = -1;
  uio->registers = uio->memory = NULL;
  enum daqkf_result result = open_registers(uio, place);
  if (result == DAQKF_OK)
    result = open_memory(uio, place);
  if (result == DAQKF_OK) {
    daqkf_map(&uio->bus, &uio->mapping);
    uio->bus.clock = clock_now;
    uio->bus.wait = place->interrupts ? wait_for_interrupt : sleep_instead;
    result = daqkf_open(&uio->device, &uio->bus, fingerprint);
  }
  if (result != DAQKF_OK) {
    const int error = errno;
    daqkf_uio_close(uio);
    errno = error;
  }
  return result;
}

void daqkf_uio_close(struct daqkf_uio *uio) {
  unmap(uio->registers, uio->mapping.registers, DAQKF_MAP_BYTES);
  unmap(uio->memory, uio->mapping.memory, uio->mapping.bytes);
  uio->registers = uio->memory = NULL;
  if (uio->device_file >= 0)
    close(uio->device_file);
  if (uio->memory_file >= 0)
    close(uio->memory_file);
  uio->device_file = uio->memory_file = -1;
}
