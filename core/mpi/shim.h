/*
** shim.h - the functions of MPI that the core needs. The program is built without MPI; shim.c is
** compiled against the mpi.h of a machine (make mpi) and loaded if a launcher started the program
** (core/ranks.c).
*/
#ifndef FM_MPI_SHIM_H
#define FM_MPI_SHIM_H

#include <stddef.h>

#define FM_MPI_VERSION 2
#define FM_MPI_MOST ((size_t)1 << 30) /* bytes of one message */

typedef struct fm_mpi {
  int version;
  int (*begin)(int *rank, int *size); /* 0: success */
  /* Of each rank, the first rank on its machine. 0: success */
  int (*machines)(int *first);
  /* Begin a message: its request, or -1. Its memory must not be touched until it is done. */
  int (*send)(const void *data, size_t bytes, int to, int tag);
  int (*receive)(void *data, size_t bytes, int from, int tag);
  int (*meet)(void);        /* begin to wait for all ranks: a request, or -1 */
  int (*done)(int request); /* 1: yes, and the request is freed; 0: not yet; -1: it failed */
  void (*end)(void);
  void (*abandon)(int status); /* end all ranks; does not return */
} fm_mpi;

/* The only function of the library, by this name. */
const fm_mpi *fm_mpi_functions(void);

#endif
