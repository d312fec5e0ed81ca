"""The Triton backend. Importing this package or its `backend` does not import Triton.

Each kernel is in one file with its launch. All but the products are bound by memory, so each
reads and writes every byte once. For `n` elements of `b` bytes (pools: `n` of the input, `m`
windows; patches: `n` of the input, `m` of the output):

| kernel                      | bytes moved                                    |
|-----------------------------|------------------------------------------------|
| rectify                     | `2·n·b + n/8`; with a mask alone `n·b + n/8`    |
| gate                        | `2·n·b + n/8`; the deconvnet's `2·n·b`          |
| max_pool                    | `n·b + m·b + m`                                |
| unpool                      | `n·b + m·b + m`                                |
| gather, pool of patches     | `n·b + m·b`                                    |
| depthwise                   | `n·b + m·b`; with a residual `n·b + 2·m·b`     |

The per-channel vectors that batch-norm adds to the first two stay in the cache. So do the elements
that overlapping windows read several times.
"""
