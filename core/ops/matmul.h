/* matmul.h - what a matrix product does with its operands. */
#ifndef FM_MATMUL_H
#define FM_MATMUL_H

#include "../op.h"

/* Does a product round its operands to bfloat16, where the program asks for it? */
bool fm_matmul_rounds(const fm_sig *in, const fm_sig *out);

#endif
