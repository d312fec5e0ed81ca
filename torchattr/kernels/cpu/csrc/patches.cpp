// Operations on patches on a CPU, for float32.
//
// Activations are channels-last (kernels/patches.py). Work is split into blocks that threads share;
// no result depends on the number of threads.

#include "depthwise.h"
#include "direct.h"
#include "pools.h"
#include "weights.h"
#include "winograd.h"

extern "C" int64_t torchattr_lanes() { return kLanes; }
