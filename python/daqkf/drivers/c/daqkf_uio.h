/* Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
   SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

   The driver of daqkf.h under Linux, over UIO or /dev/mem. Registers are mapped from /dev/uioN, which also
   brings interrupts; memory is mapped from u-dma-buf, or from /dev/mem at an address that Linux does
   not use. One process owns a device. */

#ifndef DAQKF_UIO_H
#define DAQKF_UIO_H

#include "daqkf.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is to be opened. Paths are those of the system. */
struct daqkf_uio_place {
  const char *device;   /* /dev/uio0, or /dev/mem for registers at an address */
  uint64_t registers;   /* that address, or where registers begin in the map of a UIO device */
  const char *memory;   /* /dev/udmabuf0, or /dev/mem for memory at an address */
  uint64_t address;     /* what the device calls the first byte of the memory, a multiple of 4096;
                           of u-dma-buf, 0 takes it from /sys/class/u-dma-buf */
  uint64_t bytes;       /* how many there are; 0 as for `address` */
  bool interrupts;      /* wait for them by the device's file; else the driver polls */
};

/* An opened device. It has to stay where it is. */
struct daqkf_uio {
  struct daqkf_bus bus;
  struct daqkf_mapping mapping;
  struct daqkf_device device;
  int device_file, memory_file;
  void *registers; /* what munmap gets */
  void *memory;
};

/* Lock the device's file, map registers and memory, and daqkf_open the device. After DAQKF_ERROR_SYSTEM
   errno says why; DAQKF_ERROR_OWNED: another process has it. Nothing stays open after an error. */
enum daqkf_result daqkf_uio_open(struct daqkf_uio *uio, const struct daqkf_uio_place *place,
                                 uint32_t fingerprint);

/* Let go of it. */
void daqkf_uio_close(struct daqkf_uio *uio);

#ifdef __cplusplus
}
#endif

#endif
