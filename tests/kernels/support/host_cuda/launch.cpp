// One kernel as a library for the CPU; SOURCE and KERNEL name it.
#include "cuda_on_host.h"

#include SOURCE

extern "C" void launch(long long first, long long blocks, void* const* arguments) {
    host::launch(KERNEL, first, blocks, THREADS, arguments);
}
