/* room.c - see kernels/room.h. */
#include "kernels/room.h"

_Thread_local _Alignas(64) char fm_gemm_room[FM_GEMM_ROOM];
_Thread_local _Alignas(64) char fm_conv_room[FM_CONV_ROOM];
