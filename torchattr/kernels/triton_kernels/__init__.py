"""The Triton kernels and their launches. Importing this package imports Triton.

Every kernel is bound by memory, so each reads and writes every byte once. For `n` elements of `b`
bytes (pools: `n` of the input, `m` windows):

| kernel                      | bytes moved                                    |
|-----------------------------|------------------------------------------------|
| rectify                     | `2·n·b + n/8`; with a mask alone `n·b + n/8`    |
| gate                        | `2·n·b + n/8`; the deconvnet's `2·n·b`          |
| max_pool                    | `n·b + m·b + m`                                |
| unpool                      | `n·b + m·b + m`                                |

The vectors of one value a channel, which batch-norm adds to the first two, stay in the cache. So do
the elements that overlapping windows read several times.
"""
