/* The loops of perfmodel/sim/compiled_engine.py in C, for benchmarks/c_loop.py.
 *
 * serve_vectors: completions sorted in vector registers, the last end sorted in one request late.
 * serve_ring:    completions sorted in a window of memory, shifted one by one: what a textbook would do.
 * BLOCKS, the number of blocks of eight executors, comes from the command line.
 */
#include <math.h>
#include <stdint.h>

#ifdef __AVX512F__
#include <immintrin.h>
typedef __m512d block;

static inline block splat(double value) { return _mm512_set1_pd(value); }
static inline double second(const block *pool) {
    return _mm512_cvtsd_f64(_mm512_permute_pd(pool[0], 1));
}
static inline int64_t count_after(const block *pool, double time_s) {
    uint64_t word = 0;
    for (int i = 0; i < BLOCKS; i++)
        word |= (uint64_t)_mm512_cmp_pd_mask(pool[i], splat(time_s), _CMP_GT_OQ) << (8 * i);
    return __builtin_popcountll(word);
}
static inline void sort_in(block *pool, double end_s) {
    block end = splat(end_s);
    for (int i = 0; i < BLOCKS; i++) {
        block right = i + 1 < BLOCKS ? pool[i + 1] : splat(INFINITY);
        block shifted = (block)_mm512_alignr_epi64((__m512i)right, (__m512i)pool[i], 1);
        pool[i] = _mm512_max_pd(pool[i], _mm512_min_pd(shifted, end));
    }
}
#else
typedef struct { double lane[8]; } block;

static inline double second(const block *pool) { return pool[0].lane[1]; }
static inline int64_t count_after(const block *pool, double time_s) {
    int64_t count = 0;
    for (int i = 0; i < 8 * BLOCKS; i++) count += pool[i / 8].lane[i % 8] > time_s;
    return count;
}
static inline void sort_in(block *pool, double end_s) {
    for (int i = 0; i < 8 * BLOCKS; i++) {
        double right = i + 1 < 8 * BLOCKS ? pool[(i + 1) / 8].lane[(i + 1) % 8] : INFINITY;
        double smaller = right < end_s ? right : end_s, here = pool[i / 8].lane[i % 8];
        pool[i / 8].lane[i % 8] = here > smaller ? here : smaller;
    }
}
#endif

double serve_vectors(int64_t queries, const double *arrival_s, const int64_t *num_items, int64_t batch_size,
                     int64_t executors, const double *table_s, double *finish_s) {
    block pool[BLOCKS];
    for (int i = 0; i < 8 * BLOCKS; i++) ((double *)pool)[i] = i < executors ? -INFINITY : INFINITY;
    double start_s = 0.0, end_s = -INFINITY, busy_s = 0.0;
    int64_t beyond = 8 * BLOCKS - executors;
    for (int64_t query = 0; query < queries; query++) {
        int64_t remaining = num_items[query];
        double last_s = 0.0;
        if (arrival_s[query] > start_s) start_s = arrival_s[query];
        while (remaining > 0) {
            int64_t batch = remaining < batch_size ? remaining : batch_size;
            remaining -= batch;
            double free_s = second(pool);
            if (__builtin_expect(end_s < free_s, 0)) {
                __asm__ volatile(""); /* a branch, not a minimum: nothing then waits for end_s */
                free_s = end_s;
            }
            if (free_s > start_s) start_s = free_s;
            int64_t others = count_after(pool, start_s) + (end_s > start_s);
            sort_in(pool, end_s);
            double time_s = table_s[(batch - 1) * executors - beyond + others];
            busy_s += time_s;
            end_s = start_s + time_s;
            if (end_s > last_s) last_s = end_s;
        }
        finish_s[query] = last_s;
    }
    return busy_s;
}

double serve_ring(int64_t queries, const double *arrival_s, const int64_t *num_items, int64_t batch_size,
                  int64_t executors, const double *table_s, double *finish_s) {
    enum { LENGTH = 4096 };
    static _Thread_local double window_s[LENGTH];
    int64_t head = 1, tail = 1;
    double start_s = 0.0, busy_s = 0.0;
    window_s[0] = -INFINITY, window_s[1] = INFINITY;
    for (int64_t query = 0; query < queries; query++) {
        int64_t remaining = num_items[query];
        double last_s = 0.0;
        if (arrival_s[query] > start_s) start_s = arrival_s[query];
        while (remaining > 0) {
            int64_t batch = remaining < batch_size ? remaining : batch_size;
            remaining -= batch;
            while (window_s[head] <= start_s) head++;
            if (tail - head == executors) {
                start_s = window_s[head];
                while (window_s[head] <= start_s) head++;
            }
            double time_s = table_s[(batch - 1) * executors + tail - head];
            busy_s += time_s;
            double end_s = start_s + time_s;
            if (end_s > last_s) last_s = end_s;
            if (tail + 2 > LENGTH) {
                for (int64_t slot = head - 1; slot < tail; slot++) window_s[slot - head + 1] = window_s[slot];
                tail -= head - 1, head = 1;
            }
            int64_t slot = tail++;
            for (; window_s[slot - 1] > end_s; slot--) window_s[slot] = window_s[slot - 1];
            window_s[slot] = end_s;
            window_s[tail] = INFINITY;
        }
        finish_s[query] = last_s;
    }
    return busy_s;
}
