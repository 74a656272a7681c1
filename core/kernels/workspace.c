/* workspace.c - the storage that workspace.h declares. */
#include "workspace.h"

#ifdef FM_RULES /* compiled once, not per instruction set and element type */

_Thread_local _Alignas(64) char fm_gemm_workspace[FM_GEMM_WORKSPACE];
_Thread_local _Alignas(64) char fm_conv_workspace[FM_CONV_WORKSPACE];

#endif
