/* Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
   SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

   In place of daqkf_uio.c: the simulated system at the other end of the standard streams. */

#include "daqkf_uio.h"

#include "network.h"
#include "pipe_bus.h"

static struct pipe_bus pipe_to_system;

enum daqkf_result daqkf_uio_open(struct daqkf_uio *uio, const struct daqkf_uio_place *place,
                                 uint32_t fingerprint) {
  /* The names of the device and of its memory are the cycles of a read and the memory's size. */
  pipe_open(&pipe_to_system, NETWORK_ADDRESS, strtoull(place->memory, NULL, 16));
  pipe_to_system.pace = (uint32_t)strtoul(place->device, NULL, 16);
  return daqkf_open(&uio->device, &pipe_to_system.bus, fingerprint);
}

void daqkf_uio_close(struct daqkf_uio *uio) { (void)uio; }
