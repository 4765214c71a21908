/*
 * What libtandem_executorch adds to tandem.h: the backend "TandemBackend" in ExecuTorch's registry, and a look at the
 * delegates that live in this process.
 *
 * Loading the library registers the backend; `tandem_register` does it again where a linker dropped the initializer,
 * and gives a program something to refer to.
 *
 * Options of a delegate, given at `Module::load` as runtime specs of "TandemBackend" (tandem_load's, and one more):
 *   "threads"  int, threads of an execution; 0: what ExecuTorch's thread pool has (default: the environment variable
 *              TANDEM_THREADS, else 0)
 * `executorch::runtime::set_option("TandemBackend", ...)` sets "threads" for all delegates that were not given it.
 *
 * Methods may be loaded, executed and destroyed on any threads at the same time. One method executes on one thread at a
 * time: a second execution meanwhile gives Error::InvalidState.
 */
#ifndef TANDEM_EXECUTORCH_H
#define TANDEM_EXECUTORCH_H

#include "tandem.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Registers the backend where it is not registered yet. Returns 0, or executorch::runtime::Error as an integer. */
TANDEM_API int tandem_register(void);

/* A delegate of a loaded ExecuTorch method. */
typedef struct tandem_delegate {
  const tandem_method *method; /* for tandem_get_report and the like; lives as long as the ExecuTorch method */
  const char *method_name;     /* e.g. "forward" */
  uint64_t executions;         /* so far */
  uint64_t init_ns;            /* time ExecuTorch spent in this delegate's init */
} tandem_delegate;

/* Writes up to `capacity` live delegates, oldest first, and returns how many there are. */
TANDEM_API size_t tandem_list_delegates(tandem_delegate *delegates, size_t capacity);

/* While a delegate hands its events to an event tracer: its method, on the thread that does so; null otherwise. Event i
 * of an execution is step i. */
TANDEM_API const tandem_method *tandem_tracing(void);

#ifdef __cplusplus
}
#endif

#endif /* TANDEM_EXECUTORCH_H */
