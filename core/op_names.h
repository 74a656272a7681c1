/*
** op_names.h - declares each operation as fm_op_NAME. Only what names operations includes it: the
** rest need not be compiled again for a new one.
*/
#ifndef FM_OP_NAMES_H
#define FM_OP_NAMES_H

#include "op.h"

#define X(name) extern const fm_op fm_op_##name;
#define FM_MAPPED(name) X(name)
#define FM_FAMILY(name) X(name)
#define FM_OPERATION(name) X(name)
#include "ops.def"
#undef FM_MAPPED
#undef FM_FAMILY
#undef FM_OPERATION
#undef X

#endif
