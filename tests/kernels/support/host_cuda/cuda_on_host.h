// As much of CUDA as the kernels use, on a CPU. The lanes of a warp are coroutines that take turns
// until all of them wait for each other in a shuffle or ballot. A lane that is missing there is an
// error, as it is on a GPU, where the warp would hang or read what nobody wrote.
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__

struct Dimensions { unsigned x; };
static Dimensions blockIdx, threadIdx;

struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) float4 { float x, y, z, w; };

template <class To, class From> To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

inline float __uint_as_float(unsigned bits) { return bits_as<float>(bits); }
inline unsigned __float_as_uint(float value) { return bits_as<unsigned>(value); }
inline float __int_as_float(int bits) { return bits_as<float>(bits); }
inline unsigned __umulhi(unsigned one, unsigned other) {
    return static_cast<unsigned>(static_cast<std::uint64_t>(one) * other >> 32);
}
inline int min(int one, int other) { return one < other ? one : other; }

// A vector's access must lie at a multiple of its size.
template <class T> void check_alignment(const T* at) {
    if (reinterpret_cast<std::uintptr_t>(at) % sizeof(T)) {
        std::fprintf(stderr, "an access of %zu bytes at %p\n", sizeof(T), static_cast<const void*>(at));
        std::abort();
    }
}

template <class T> T __ldg(const T* from) { check_alignment(from); return *from; }
template <class T> T __ldcs(const T* from) { check_alignment(from); return *from; }
template <class T> void __stwb(T* to, T value) { check_alignment(to); *to = value; }
template <class T> void __stcs(T* to, T value) { check_alignment(to); *to = value; }

namespace host {

constexpr int WARP_SIZE = 32;
constexpr std::size_t STACK = 1 << 17;

struct Lane {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(STACK);
    bool done = true;
    unsigned exchanged = 0;
};

static Lane lanes[WARP_SIZE];
static ucontext_t scheduler;
static int running;
static unsigned first_thread;
static void (*body)(const void*);
static const void* data;

inline void run_lane() {
    body(data);
    lanes[running].done = true;
}

inline void run_warp() {
    for (Lane& lane : lanes) {
        lane.done = false;
        getcontext(&lane.context);
        lane.context.uc_stack.ss_sp = lane.stack.data();
        lane.context.uc_stack.ss_size = STACK;
        lane.context.uc_link = &scheduler;
        makecontext(&lane.context, run_lane, 0);
    }
    for (int finished = 0; finished < WARP_SIZE;) {
        finished = 0;
        for (running = 0; running < WARP_SIZE; ++running) {
            threadIdx.x = first_thread + running;
            if (!lanes[running].done) swapcontext(&scheduler, &lanes[running].context);
            finished += lanes[running].done;
        }
        if (finished != 0 && finished != WARP_SIZE) {
            std::fprintf(stderr, "%d lanes of a warp left before an exchange\n", finished);
            std::abort();
        }
    }
}

// Waits until each lane has stored what it gives. Two turns: nobody gives again before all took.
inline void exchange(unsigned given) {
    lanes[running].exchanged = given;
    swapcontext(&lanes[running].context, &scheduler);
}

}  // namespace host

inline unsigned __shfl_xor_sync(unsigned, unsigned value, int mask) {
    const int lane = host::running;
    host::exchange(value);
    const unsigned taken = host::lanes[lane ^ mask].exchanged;
    host::exchange(value);
    return taken;
}

inline unsigned __ballot_sync(unsigned, bool value) {
    host::exchange(value);
    unsigned bits = 0;
    for (int lane = 0; lane < host::WARP_SIZE; ++lane) bits |= host::lanes[lane].exchanged << lane;
    host::exchange(value);
    return bits;
}

namespace host {

template <class... Arguments, std::size_t... N>
void call(void (*kernel)(Arguments...), void* const* arguments, std::index_sequence<N...>) {
    kernel(*static_cast<std::remove_reference_t<Arguments>*>(arguments[N])...);
}

template <class... Arguments> struct Call {
    void (*kernel)(Arguments...);
    void* const* arguments;

    static void run(const void* data) {
        const Call* call = static_cast<const Call*>(data);
        host::call(call->kernel, call->arguments, std::index_sequence_for<Arguments...>());
    }
};

template <class... Arguments>
void launch(
    void (*kernel)(Arguments...), long long first, long long blocks, int threads,
    void* const* arguments) {
    const Call<Arguments...> one = {kernel, arguments};
    body = Call<Arguments...>::run;
    data = &one;
    for (long long block = first; block < blocks; ++block) {
        blockIdx.x = static_cast<unsigned>(block);
        for (first_thread = 0; first_thread < static_cast<unsigned>(threads); first_thread += WARP_SIZE)
            run_warp();
    }
}

}  // namespace host
