/* workspace.c - see kernels/workspace.h. */
#include "kernels/workspace.h"

_Thread_local _Alignas(64) char fm_gemm_workspace[FM_GEMM_WORKSPACE];
_Thread_local _Alignas(64) char fm_conv_workspace[FM_CONV_WORKSPACE];
