/* step.c - runs one step of a plan; counts its operations and the bytes that it moves. */
#include <string.h>

#include "step.h"
#include "../op_names.h"

static void run_op(const fm_frame *f, fm_val v) {
  const fm_prog *p = f->plan->p;
  const fm_node *n = &p->node[v];
  if (fm_shape_count(&n->sig.shape) == 0) return; /* as in apply.c */
  const void *x[FM_MAX_OPERANDS];
  fm_sig in[FM_MAX_OPERANDS];
  for (int k = 0; k < n->nin; k++) {
    x[k] = fm_address(f, fm_ins(p, v)[k]);
    in[k] = p->node[fm_ins(p, v)[k]].sig;
  }
  fm_exec e = {.attr = &n->attr,
               .out = &n->sig,
               .in = in,
               .nin = n->nin,
               .y = fm_address(f, v),
               .x = x,
               .rng = f->rng,
               .row0 = f->row0,
               .bf16 = f->plan->bf16,
               .accumulate = f->plan->loc[v].where == AT_OUT && !f->plan->in_place && !f->first};
  fm_kernel_of(n->op, n->sig.dtype)->exec(&e);
}

static void run_sum(const fm_frame *f, const fm_step *s) {
  const fm_sig *sig = &f->plan->p->node[s->v].sig;
  void *sum = f->out[s->index];
  const void *x = fm_address(f, s->v);
  if (fm_sig_bytes(sig) == 0) return; /* such a sum has no memory */
  if (f->first)
    memcpy(sum, x, fm_sig_bytes(sig));
  else
    fm_kernel_of(&fm_op_add, sig->dtype)->map(fm_shape_count(&sig->shape), sum, sum, x, NULL, NULL);
}

void fm_step_run(const fm_step *s, const fm_frame *f) {
  const fm_prog *p = f->plan->p;
  switch (s->kind) {
  case STEP_OP: run_op(f, s->v); break;
  case STEP_FUSED: fm_fused_run(&f->plan->fused[s->index], f); break;
  case STEP_COPY:
    memcpy((char *)fm_address(f, s->into) + s->offset, fm_address(f, s->v),
           fm_sig_bytes(&p->node[s->v].sig));
    break;
  case STEP_SUM: run_sum(f, s); break;
  case STEP_STACK:
    memcpy(f->out[s->index], fm_address(f, s->v), fm_sig_bytes(&p->node[s->v].sig));
    break;
  }
}

const char *fm_step_kind_name(const fm_plan *plan, const fm_step *s) {
  if (s->kind == STEP_FUSED) return plan->fused[s->index].nreduce ? "fused, with sums" : "fused";
  if (s->kind == STEP_OP) return plan->p->node[s->v].op->name;
  return s->kind == STEP_SUM ? "accumulate" : "copy";
}

double fm_step_flops(const fm_plan *plan, const fm_step *s) {
  double total = 0;
  if (s->kind == STEP_OP) return fm_node_flops(plan->p, s->v);
  if (s->kind == STEP_SUM) return (double)fm_shape_count(&plan->p->node[s->v].sig.shape);
  if (s->kind != STEP_FUSED) return 0;
  const fm_fused *f = &plan->fused[s->index];
  for (int k = 0; k < f->nvop; k++) total += fm_node_flops(plan->p, f->vop[k].v);
  for (int k = 0; k < f->nreduce; k++) total += fm_node_flops(plan->p, f->reduce[k].v);
  return total;
}

static double operand_bytes(const fm_prog *p, fm_val v, int k) {
  fm_sig sig = p->node[fm_ins(p, v)[k]].sig;
  if (k == 0 && (p->node[v].op->flags & FM_PICKS)) sig.shape = p->node[v].sig.shape;
  return (double)fm_sig_bytes(&sig);
}

double fm_step_bytes(const fm_plan *plan, const fm_step *s) {
  const fm_prog *p = plan->p;
  double total = (double)fm_sig_bytes(&p->node[s->v].sig);
  if (s->kind == STEP_OP)
    for (int k = 0; k < p->node[s->v].nin; k++) total += operand_bytes(p, s->v, k);
  if (s->kind == STEP_SUM) total *= 3;
  if (s->kind == STEP_COPY || s->kind == STEP_STACK) total *= 2;
  if (s->kind != STEP_FUSED) return total;
  const fm_fused *f = &plan->fused[s->index];
  total = 0;
  for (int k = 0; k < f->nslot; k++)
    if (f->slot[k].kind == SLOT_FULL || f->slot[k].kind == SLOT_BCAST)
      total += (double)fm_sig_bytes(&p->node[f->slot[k].v].sig);
  for (int k = 0; k < f->nreduce; k++) total += (double)fm_sig_bytes(&p->node[f->reduce[k].v].sig);
  return total;
}

int fm_step_sum(const fm_plan *plan, const fm_step *s) {
  if (s->kind == STEP_SUM) return s->index;
  const fm_loc *loc = &plan->loc[s->v];
  return s->kind == STEP_OP && loc->where == AT_OUT ? loc->index : -1;
}
