/* shim.c - the functions of shim.h, implemented with MPI 3. One thread at a time calls them. */
#include <mpi.h>
#include <stdlib.h>

#include "shim.h"

static MPI_Request *request; /* by number */
static int *spare;           /* numbers that are free */
static int nrequest, nspare;

/* A free number; -1 if memory ran out. */
static int take(void) {
  if (nspare > 0) return spare[--nspare];
  int n = nrequest ? 2 * nrequest : 64;
  MPI_Request *more = realloc(request, (size_t)n * sizeof *more);
  if (more) request = more;
  int *free_ones = realloc(spare, (size_t)n * sizeof *free_ones);
  if (free_ones) spare = free_ones;
  if (more == NULL || free_ones == NULL) return -1;
  for (int k = n - 1; k >= nrequest; k--) spare[nspare++] = k;
  nrequest = n;
  return spare[--nspare];
}

static int begun(int number, int error) {
  if (error == MPI_SUCCESS) return number;
  spare[nspare++] = number;
  return -1;
}

static int begin(int *rank, int *size) {
  int given;
  if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &given) != MPI_SUCCESS) return -1;
  if (given < MPI_THREAD_SERIALIZED) return -1;
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  if (MPI_Comm_rank(MPI_COMM_WORLD, rank) != MPI_SUCCESS) return -1;
  return MPI_Comm_size(MPI_COMM_WORLD, size) == MPI_SUCCESS ? 0 : -1;
}

static int machines(int *first) {
  MPI_Comm machine;
  int rank, lowest;
  if (MPI_Comm_rank(MPI_COMM_WORLD, &rank) != MPI_SUCCESS) return -1;
  if (MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &machine) !=
      MPI_SUCCESS)
    return -1;
  int error = MPI_Allreduce(&rank, &lowest, 1, MPI_INT, MPI_MIN, machine);
  if (error == MPI_SUCCESS)
    error = MPI_Allgather(&lowest, 1, MPI_INT, first, 1, MPI_INT, MPI_COMM_WORLD);
  MPI_Comm_free(&machine);
  return error == MPI_SUCCESS ? 0 : -1;
}

static int send(const void *data, size_t bytes, int to, int tag) {
  int k = bytes <= FM_MPI_MOST ? take() : -1;
  if (k < 0) return -1;
  return begun(k, MPI_Isend(data, (int)bytes, MPI_BYTE, to, tag, MPI_COMM_WORLD, &request[k]));
}

static int receive(void *data, size_t bytes, int from, int tag) {
  int k = bytes <= FM_MPI_MOST ? take() : -1;
  if (k < 0) return -1;
  return begun(k, MPI_Irecv(data, (int)bytes, MPI_BYTE, from, tag, MPI_COMM_WORLD, &request[k]));
}

static int meet(void) {
  int k = take();
  return k < 0 ? -1 : begun(k, MPI_Ibarrier(MPI_COMM_WORLD, &request[k]));
}

static int done(int number) {
  int flag = 0;
  if (MPI_Test(&request[number], &flag, MPI_STATUS_IGNORE) != MPI_SUCCESS) return -1;
  if (flag) spare[nspare++] = number;
  return flag;
}

static void end(void) { MPI_Finalize(); }

static void abandon(int status) {
  MPI_Abort(MPI_COMM_WORLD, status);
  _Exit(status);
}

__attribute__((visibility("default"))) const fm_mpi *fm_mpi_functions(void) {
  static const fm_mpi functions = {FM_MPI_VERSION, begin, machines, send,   receive,
                                   meet,           done,  end,      abandon};
  return &functions;
}
