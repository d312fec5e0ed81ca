// Convolutions and pools of what a change of the input can reach, on a CPU, for float32.
//
// Activations lie with their channels fastest (kernels/patches.py). Work is cut into blocks that
// threads share; no result depends on how many there are.

#include "depthwise.h"
#include "direct.h"
#include "pools.h"
#include "weights.h"
#include "winograd.h"

extern "C" int64_t torchattr_lanes() { return kLanes; }
