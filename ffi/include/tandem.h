/*
 * Tandem's C ABI: load a Program that `tandem_lower` made, run it, ask what it cost.
 *
 * A host that is not ExecuTorch (or ExecuTorch's adapter, ffi/adapter) needs nothing else. Rules of every function:
 *
 *   - A `tandem_status` other than TANDEM_OK leaves a message in `tandem_last_error()` of the same thread.
 *   - Pointers must not be null unless a parameter says so. Strings are UTF-8 and end with a zero byte.
 *   - A method may be used from any thread, by one thread at a time: a second `tandem_execute` of the same method
 *     while one is running returns TANDEM_BUSY and touches nothing. Different methods run at the same time freely.
 *   - Nothing is thrown: a panic inside becomes TANDEM_INTERNAL, and the method stays usable.
 *
 * Structures that a host hands over grow, with TANDEM_ABI_VERSION raised, and the library reads and fills them whole: a host
 * compares `tandem_abi_version()` with the TANDEM_ABI_VERSION it was compiled with and refuses any other.
 */
#ifndef TANDEM_H
#define TANDEM_H

#include <stddef.h>
#include <stdint.h>

/* What the library exports. */
#if defined(_WIN32)
#define TANDEM_API
#else
#define TANDEM_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Version of this header. */
#define TANDEM_ABI_VERSION 6u

/* What a call answers. */
typedef int32_t tandem_status;
enum {
  TANDEM_OK = 0,
  TANDEM_INVALID_ARGUMENT = 1,   /* an argument, option or tensor does not fit; nothing was computed */
  TANDEM_INCOMPATIBLE_BLOB = 2,  /* no Tandem program, or one of a newer format */
  TANDEM_INVALID_PROGRAM = 3,    /* damaged: an index, shape or length in the program is wrong */
  TANDEM_NOT_SUPPORTED = 4,      /* well-formed, but no kernel takes it */
  TANDEM_MISSING_CONSTANT = 5,   /* the host gave no constant of that key, or one of the wrong length */
  TANDEM_BUSY = 6,               /* the method is executing on another thread */
  TANDEM_INTERNAL = 7,           /* a fault of Tandem's own */
  TANDEM_CANCELLED = 8           /* `tandem_cancel` ended the call; what its outputs hold is undefined */
};

/* Element types; the numbers are those of schemas/program.fbs. */
typedef int32_t tandem_dtype;
enum {
  TANDEM_F32 = 0,
  TANDEM_F16 = 1,
  TANDEM_BF16 = 2,
  TANDEM_F64 = 3,
  TANDEM_I8 = 4,
  TANDEM_U8 = 5,
  TANDEM_I16 = 6,
  TANDEM_I32 = 7,
  TANDEM_I64 = 8,
  TANDEM_BOOL = 9
};

/* Tensors have at most this many dimensions. */
#define TANDEM_MAX_RANK 8

/* A loaded program: its plan, its memory and the constants it holds on to. */
typedef struct tandem_method tandem_method;

/* ---- loading -------------------------------------------------------------------------------------------------- */

/* Where constants come from. Tandem takes `ctx` over: `release` is called exactly once, when the method is destroyed
 * or `tandem_load` has failed, whatever it failed on, and on whatever thread that happens. */
typedef struct tandem_constants {
  void *ctx;
  /* Finds the constant of a key: returns TANDEM_OK and where it lies. The bytes are 16-byte aligned (64 is better),
   * stay where they are and unchanged until `release`, and are read from several threads. Called once a key, from
   * within tandem_load. */
  tandem_status (*get_data)(void *ctx, const char *key, const void **data, size_t *len);
  /* Gives `ctx` back. May be null. */
  void (*release)(void *ctx);
} tandem_constants;

/* An option of `tandem_load`:
 *   "isa"        instruction sets kernels may use: "scalar", "avx2", "avx2,avx512", ... (default: all the CPU has)
 *   "algorithm"  "fast" (default: Winograd and the like where they win) or "direct"
 *   "layout"     how values lie: "state" (default: least time of the whole program) or "greedy" (a rule)
 *   "device"     profile to plan with: a shipped one's name, e.g. "apple-m4", or a file (default: this machine's, as
 *                `tandem characterize` measured it, or as its chip or class has it)
 *   "engine"     what may compute a step: "cpu", "sme" (a matrix unit or cores, each alone) or "both" (default)
 *   "overlap"    whether a step may keep cores and units busy at once: "on" (default) or "off"
 *   "power"      how much of the machine calls use: "balanced" (default: the threads they are given) or "low" (at most one
 *                thread a matrix unit where there is one, else half as many as there are fast cores; they sleep in between)
 *   "deterministic" whether the plan follows from the program, the options and the instruction sets alone, and nothing
 *                that is measured or seen changes it: "on" or "off" (default); "device" and "threads" say nothing then
 *   "chains"     whether convolutions that follow each other may be one step: "on" (default) or "off"
 *   "stack"      whose time reports predict for the steps: "tandem" (default) or "xnnpack", as modelled
 *   "candidate"  0 (default): each step's kernel is the quickest predicted; 1: the next, and so on, to measure them
 *   "threads"    threads to plan for, whatever a call is given (default, or 0: one a core)
 * The environment variables TANDEM_ISA, TANDEM_ALGORITHM, TANDEM_LAYOUT, TANDEM_DEVICE, TANDEM_ENGINE, TANDEM_OVERLAP,
 * TANDEM_POWER, TANDEM_DETERMINISTIC, TANDEM_THREADS and TANDEM_CANDIDATE are their defaults.
 * An unknown key or value is TANDEM_INVALID_ARGUMENT. */
typedef struct tandem_option {
  const char *key;
  const char *value;
} tandem_option;

/* Verifies a program and plans it for this machine. The blob is not needed after the call. `constants` is copied.
 * `options` may be null where `num_options` is 0. On success `*method` is the caller's to destroy. */
TANDEM_API tandem_status tandem_load(const void *blob, size_t blob_len, const tandem_constants *constants,
                                     const tandem_option *options, size_t num_options, tandem_method **method);

/* Frees a method that is not executing. Null is allowed. */
TANDEM_API void tandem_destroy(tandem_method *method);

/* ---- running -------------------------------------------------------------------------------------------------- */

/* A dense tensor in the host's memory. `sizes` are in logical order; `dim_order` lists the dimensions outermost
 * first (channels-last NCHW: 0,2,3,1) and may be null for contiguous. `data` is aligned to its element; `bytes` is the
 * room there, at least what sizes and dtype give. */
typedef struct tandem_tensor {
  tandem_dtype dtype;
  uint32_t rank;
  const size_t *sizes;
  const uint8_t *dim_order;
  void *data;
  size_t bytes;
} tandem_tensor;

/* Called by the executing thread after each step, with times of a monotonic clock. */
typedef void (*tandem_step_fn)(void *ctx, size_t step, uint64_t start_ns, uint64_t end_ns);

/* Called by the executing thread after each step that used a matrix unit, before its `tandem_step_fn`: once for every
 * stretch that a thread spent there, in the order they ended, on the same clock. `thread` is 0 for the executing thread, else
 * the N of Tandem's thread "tandem-N". At no moment are more threads there than the machine has units. */
typedef void (*tandem_entry_fn)(void *ctx, size_t step, size_t thread, uint64_t start_ns, uint64_t end_ns);

/* One execution. */
typedef struct tandem_call {
  const tandem_tensor *inputs; /* in the program's order; read only */
  size_t num_inputs;
  const tandem_tensor *outputs; /* their `data` is written */
  size_t num_outputs;
  size_t threads;      /* threads to use, the caller included; 0 counts as 1. The answer does not depend on it. */
  tandem_step_fn step; /* may be null */
  void *step_ctx;
  tandem_entry_fn entry; /* may be null; gets `step_ctx` */
} tandem_call;

/* Sizes may be symbolic: some numbers (batch, height, length) may differ from call to call, within bounds that the program
 * has. Plans for the sizes of these inputs, unless such a plan is kept, and writes the sizes of output i to
 * `sizes[i * TANDEM_MAX_RANK]` and on. Of the inputs' elements only those of integers are read, which a program of
 * symbolic sizes may have as tensors of rank 0 and TANDEM_I64. A host that knows the outputs' sizes need not call it. */
TANDEM_API tandem_status tandem_output_sizes(tandem_method *method, const tandem_tensor *inputs, size_t num_inputs,
                                             size_t *sizes, size_t num_outputs);

/* Runs the program once. Inputs and outputs must fit the specifications and not overlap each other; where sizes are
 * symbolic, the inputs' decide which plan runs and what the outputs' must be. A plan for sizes that were not seen lately
 * is made first. */
TANDEM_API tandem_status tandem_execute(tandem_method *method, const tandem_call *call);

/* Lets the `tandem_execute` that is running, if any, end with TANDEM_CANCELLED before its next step. For any thread, also the
 * executing one in its `step` function. Later calls are not touched. */
TANDEM_API tandem_status tandem_cancel(const tandem_method *method);

/* ---- asking --------------------------------------------------------------------------------------------------- */

/* What the functions below tell is of the plan last made or run; at first, where sizes are symbolic, of the largest sizes
 * that can be. Pointers live as long as the method or, where sizes are symbolic, until it is asked something after it took
 * other ones; asking while it executes gives TANDEM_BUSY then. */

/* What the program expects of an input or output. */
typedef struct tandem_tensor_spec {
  const char *name;
  tandem_dtype dtype;
  uint32_t rank;
  const size_t *sizes;
  const uint8_t *dim_order;
} tandem_tensor_spec;

/* Plan and memory of a method. */
typedef struct tandem_report {
  const char *isa; /* instruction sets it was planned for */
  size_t num_inputs;
  size_t num_outputs;
  size_t num_steps;
  uint64_t arena_bytes;   /* memory of all intermediate values and shared workspaces */
  uint64_t live_bytes;    /* most of these bytes alive at one time: arena_bytes cannot be less */
  uint64_t scratch_bytes; /* workspace of one thread, beside the arena */
  uint64_t weight_bytes;  /* constants in use, where the host has them */
  uint64_t verify_ns;     /* time tandem_load took to verify the program */
  uint64_t plan_ns;       /* and to plan it */
  size_t num_values;      /* of the program */
  size_t num_symbols;     /* of the program: 0 where no size is symbolic */
  const char *basis;      /* readable: whose rates it was planned with, for how many threads, and by which policy */
} tandem_report;

/* A number that sizes depend on. */
typedef struct tandem_symbol {
  const char *name; /* in the exported graph */
  int64_t value;    /* the plan is for */
} tandem_symbol;

/* One step of the plan. */
typedef struct tandem_step {
  const char *name;       /* stable and readable, e.g. "enc0.c1.conv" */
  const char *op;         /* e.g. "Conv" */
  const char *category;   /* "Convolution", "GEMM", "Data movement", "Elementwise" or "Other" */
  const char *shape;      /* readable */
  const char *kernel;     /* e.g. "avx512-direct-14x32" */
  const char *engine;     /* "cpu", "sme" or "both" */
  const char *layout_in;  /* readable */
  const char *layout_out;
  const char *reason;     /* why this kernel */
  double flops;           /* arithmetic by definition, a multiply-add counting 2 */
  double bytes;           /* bytes that must move at least once */
  double predicted_ns;    /* on the threads planned for */
  const uint32_t *debug_handles; /* of the exported graph's nodes this step computes */
  size_t num_debug_handles;
  size_t num_parts; /* what it consists of in time, at least 1 */
} tandem_step;

/* What an engine does of a step, at a stretch, on the threads planned for. All times are predicted. */
typedef struct tandem_part {
  const char *name;     /* e.g. "packing", "" of a step that is one part or shared by engines */
  const char *engine;   /* "cpu" or "sme" */
  const char *category; /* as of steps */
  double start_ns;      /* from the step's start */
  double ns;
  double share; /* of the step's arithmetic */
} tandem_part;

/* What engines were seen to take for the tiles of a step that either may compute. Each execute corrects the paces, and by them
 * how the engines share the next one. All zero of steps that one engine computes, and of those whose shares are settled. */
typedef struct tandem_seen {
  double core_predicted_ns; /* a tile, as planned */
  double unit_predicted_ns;
  double core_ns; /* as executes so far have told */
  double unit_ns;
  double unit_share;   /* of the tiles, as planned */
  uint64_t core_tiles; /* computed since the plan was made */
  uint64_t unit_tiles;
} tandem_seen;

/* How a value of the program lies. Layouts are axis letters outermost first, `*` where strides leave gaps. */
typedef struct tandem_value {
  const char *name;
  const char *shape;   /* readable */
  const char *layout;  /* the one it is written in */
  const char *copy;    /* the one some steps or the host read instead, or "" */
  const char *decided; /* who decided, and what the other layout would cost */
  uint64_t bytes;      /* of its elements */
} tandem_value;

TANDEM_API tandem_status tandem_get_report(const tandem_method *method, tandem_report *report);
TANDEM_API tandem_status tandem_get_step(const tandem_method *method, size_t index, tandem_step *step);
TANDEM_API tandem_status tandem_get_part(const tandem_method *method, size_t step, size_t index, tandem_part *part);
/* TANDEM_BUSY while the method executes. */
TANDEM_API tandem_status tandem_get_seen(const tandem_method *method, size_t step, tandem_seen *seen);
TANDEM_API tandem_status tandem_get_value(const tandem_method *method, size_t index, tandem_value *value);
TANDEM_API tandem_status tandem_get_symbol(const tandem_method *method, size_t index, tandem_symbol *symbol);
TANDEM_API tandem_status tandem_get_input(const tandem_method *method, size_t index, tandem_tensor_spec *spec);
TANDEM_API tandem_status tandem_get_output(const tandem_method *method, size_t index, tandem_tensor_spec *spec);

/* Message of the last call on this thread that failed, "" before any did. Valid until the thread's next failure. */
TANDEM_API const char *tandem_last_error(void);

/* TANDEM_ABI_VERSION the library was built with. */
TANDEM_API uint32_t tandem_abi_version(void);

/* Version of the library, e.g. "0.1.0". */
TANDEM_API const char *tandem_version(void);

#ifdef __cplusplus
}
#endif

#endif /* TANDEM_H */
