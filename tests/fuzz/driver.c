/* A coverage-guided fuzzer in one file, for machines with gcc alone. It understands those of libFuzzer's options that
   scripts/fuzz uses, so that either can be linked to message.c:

     message [-max_total_time=S] [-runs=N] [-seed=N] [-max_len=N] [-artifact_prefix=FOLDER/] [-merge=1] PATH...

   Files are run once each, and that is all. Folders are the corpus, and inputs that reach something new are written to
   the first one; -merge=1 instead copies there those of the other folders that add edges, of earlier folders first.

   The engine is compiled with -fsanitize-coverage=trace-pc, which calls __sanitizer_cov_trace_pc at every edge; this
   file is not. A child process does the work, so that its parent still has the input when it dies. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_LENGTH 4096u
#define STUCK_S 10 /* one input may take this long */
#define MAP_SIZE 65536u

/* ---------------------------------------------------------------- coverage */

static uint8_t counts[MAP_SIZE]; /* of edges in this input */
static uint8_t seen[MAP_SIZE];   /* of all inputs: classes of counts, as bits */
static uintptr_t previous;

void __sanitizer_cov_trace_pc(void);

void __sanitizer_cov_trace_pc(void) {
    /* Relative to this function, so that it is the same wherever the program is loaded. */
    const uintptr_t here = (uintptr_t)__builtin_return_address(0) - (uintptr_t)&__sanitizer_cov_trace_pc;
    const uint32_t place = (uint32_t)(((here * 3) ^ previous) * UINT64_C(0x9e3779b97f4a7c15) >> 48);
    if (counts[place] < 255) counts[place]++;
    previous = here;
}

static uint8_t class_of(uint8_t count) { /* 1, 2, 3, 4-7, 8-15, 16-31, 32-127, 128 and more */
    static const uint8_t small[] = {0, 1, 2, 4};
    if (count < 4) return small[count];
    return count < 8 ? 8 : count < 16 ? 16 : count < 32 ? 32 : count < 128 ? 64 : 128;
}

/* Adds the last input's coverage; gives how much of it is new. */
static unsigned add_coverage(void) {
    unsigned fresh = 0;
    for (size_t w = 0; w < MAP_SIZE; w += 8) {
        uint64_t word;
        memcpy(&word, counts + w, 8);
        if (!word) continue;
        for (size_t k = w; k < w + 8; k++) {
            const uint8_t class = class_of(counts[k]);
            if (class & ~seen[k]) {
                seen[k] |= class;
                fresh++;
            }
        }
    }
    return fresh;
}

static unsigned num_edges(void) {
    unsigned number = 0;
    for (size_t k = 0; k < MAP_SIZE; k++) number += seen[k] != 0;
    return number;
}

/* ---------------------------------------------------------------- inputs */

typedef struct {
    uint8_t *data;
    size_t size;
} input;

static struct {
    input *at;
    size_t count, room;
} corpus;

/* What parent and child share. */
static struct {
    volatile uint64_t begun; /* over all, where `runs` begins anew */
    volatile uint64_t runs;
    volatile size_t size;
    uint8_t data[MAX_LENGTH];
} *shared;

static void stop(const char *what, const char *name) {
    fprintf(stderr, "%s %s: %s\n", what, name, strerror(errno));
    exit(2);
}

static void run(const uint8_t *data, size_t size) {
    memcpy(shared->data, data, size);
    shared->size = size;
    uint8_t *const exact = malloc(size ? size : 1); /* its end is the input's, for the sanitizer */
    if (!exact) abort();
    memcpy(exact, data, size);
    memset(counts, 0, sizeof counts);
    previous = 0;
    shared->begun++;
    LLVMFuzzerTestOneInput(size ? exact : NULL, size);
    free(exact);
    shared->runs++;
}

static void keep(const uint8_t *data, size_t size) {
    if (corpus.count == corpus.room) {
        corpus.room = corpus.room ? 2 * corpus.room : 256;
        corpus.at = realloc(corpus.at, corpus.room * sizeof *corpus.at);
    }
    uint8_t *const copy = malloc(size + 1);
    if (!corpus.at || !copy) abort();
    memcpy(copy, data, size);
    corpus.at[corpus.count++] = (input){copy, size};
}

static void write_input(const char *prefix, const char *kind, const uint8_t *data, size_t size, char *name,
                        size_t room) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t k = 0; k < size; k++) hash = (hash ^ data[k]) * UINT64_C(0x100000001b3);
    snprintf(name, room, "%s%s%016llx", prefix, kind, (unsigned long long)hash);
    FILE *const file = fopen(name, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file)) stop("Cannot write", name);
}

static void read_file(const char *name) {
    uint8_t data[MAX_LENGTH];
    FILE *const file = fopen(name, "rb");
    if (!file) stop("Cannot read", name);
    keep(data, fread(data, 1, sizeof data, file));
    fclose(file);
}

static void read_folder(const char *folder) {
    struct dirent **entries;
    const int number = scandir(folder, &entries, NULL, alphasort); /* sorted, so that a seed repeats a run */
    if (number < 0) stop("Cannot read", folder);
    for (int k = 0; k < number; k++) {
        char name[4096];
        if (entries[k]->d_name[0] != '.') {
            snprintf(name, sizeof name, "%s/%s", folder, entries[k]->d_name);
            read_file(name);
        }
        free(entries[k]);
    }
    free(entries);
}

static int compare_sizes(const void *a, const void *b) {
    const input *const x = a, *const y = b;
    if (x->size != y->size) return x->size < y->size ? -1 : 1;
    return x->size ? memcmp(x->data, y->data, x->size) : 0;
}

/* ---------------------------------------------------------------- mutation */

static uint64_t chance;

/* Source: Sebastiano Vigna, splitmix64 (public domain), prng.di.unimi.it/splitmix64.c. */
static uint64_t draw(void) {
    uint64_t z = chance += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static size_t below(size_t bound) { return bound ? (size_t)(draw() % bound) : 0; }

static uint8_t work[MAX_LENGTH];
static size_t work_size, max_length = MAX_LENGTH;

static void replace(size_t at, size_t removed, const uint8_t *with, size_t size) {
    uint8_t copy[MAX_LENGTH];
    const size_t after = work_size - at - removed;
    if (at + size + after > max_length) return;
    memcpy(copy, with, size); /* it may be part of what moves */
    memmove(work + at + size, work + at + removed, after);
    memcpy(work + at, copy, size);
    work_size = at + size + after;
}

static size_t write_varint(uint8_t *to, uint64_t value, size_t padding) {
    size_t size = 0;
    while (value > 0x7f) {
        to[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    to[size++] = (uint8_t)value;
    for (; padding; padding--) { /* overlong */
        to[size - 1] |= 0x80;
        to[size++] = 0;
    }
    return size;
}

static uint64_t any_number(void) {
    static const uint64_t numbers[] = {
        0, 1, 2, 7, 8, 16, 20, 32, 48, 49, 63, 64, 127, 128, 255, 4095, 16383, 16384, 65535, 0x7fffffff, 0x80000000,
        0xffffffff, UINT64_C(0x100000000), UINT64_C(1) << 53, (UINT64_C(1) << 53) + 1, INT64_MAX,
        UINT64_C(1) << 63, UINT64_MAX, (uint64_t)INT64_C(-62135596800000000), (uint64_t)INT64_C(-62135596800000001),
        UINT64_C(253402300799999999), UINT64_C(253402300800000000),
    };
    return draw() % 4 ? numbers[below(sizeof numbers / sizeof *numbers)] : draw() >> below(64);
}

static size_t varint_end(size_t at) {
    while (at < work_size && work[at] >= 0x80) at++;
    return at < work_size ? at + 1 : at;
}

/* The end of the field that begins at `at`, as far as that can be told. */
static size_t field_end(size_t at) {
    const size_t end = varint_end(at);
    if (at >= work_size) return work_size;
    switch (work[at] & 7) {
    case 0: return varint_end(end);
    case 1: return end + 8 < work_size ? end + 8 : work_size;
    case 2: {
        const size_t size = end < work_size ? work[end] : 0; /* of a short one */
        return end + 1 + size < work_size ? end + 1 + size : work_size;
    }
    case 5: return end + 4 < work_size ? end + 4 : work_size;
    default: return end;
    }
}

static size_t any_field(void) { /* where it begins */
    size_t at = 0;
    for (size_t skipped = below(12); skipped && field_end(at) < work_size; skipped--) at = field_end(at);
    return at;
}

/* A new field of a number that some plan may know. */
static size_t make_field(uint8_t *to) {
    static const uint32_t numbers[] = {127, 128, 129, 130, 131, 500, 2047, 2048, 300000, 536870911};
    static const char *const texts[] = {"a",   "b",   "\u00fc", " x ", "7",
                                        "-12", ".com", "\u65e5", "\xed\xa0\x80", "\xf4\x90"};
    static const uint8_t types[] = {0, 0, 0, 1, 2, 2, 2, 3, 4, 5, 6};
    const uint32_t number = draw() % 3 ? (uint32_t)below(22) : numbers[below(sizeof numbers / sizeof *numbers)];
    const uint8_t type = types[below(sizeof types)];
    size_t size = write_varint(to, (uint64_t)number << 3 | type, draw() % 16 ? 0 : below(5));
    if (type == 0) {
        size += write_varint(to + size, any_number(), draw() % 8 ? 0 : below(4));
    } else if (type == 1 || type == 5) {
        static const double doubles[] = {0.0,     -0.0,   0.5,  -1.0,            1e30,
                                         -1e300, 5e-324, 1e19, __builtin_inf(), __builtin_nan("")};
        memcpy(to + size, &doubles[below(sizeof doubles / sizeof *doubles)], 8);
        size += type == 1 ? 8 : 4;
    } else if (type == 2 && draw() % 2) {
        const char *const text = texts[below(sizeof texts / sizeof *texts)];
        to[size++] = (uint8_t)strlen(text);
        memcpy(to + size, text, strlen(text));
        size += strlen(text);
    } else if (type == 2) { /* packed, or a text of digits */
        const size_t count = below(24);
        to[size++] = (uint8_t)count;
        for (size_t k = 0; k < count; k++) to[size++] = (uint8_t)(draw() % 4 ? '0' + below(10) : draw());
    }
    return size;
}

static void change(void) {
    uint8_t made[128];
    const size_t at = below(work_size + 1);
    const size_t rest = work_size - at;
    switch (draw() % 14) {
    case 0: /* bit */
        if (rest) work[at] ^= (uint8_t)(1 << below(8));
        break;
    case 1: /* byte */
        if (rest) work[at] = (uint8_t)draw();
        break;
    case 2: /* a little more or less */
        if (rest) work[at] = (uint8_t)(work[at] + below(9) - 4);
        break;
    case 3:
        made[0] = (uint8_t)draw();
        replace(at, 0, made, 1);
        break;
    case 4: /* leave out */
        replace(at, below(rest < 16 ? rest + 1 : 16), made, 0);
        break;
    case 5: /* copy a part elsewhere */
        if (rest) replace(below(work_size + 1), 0, work + at, 1 + below(rest < 64 ? rest : 64));
        break;
    case 6: { /* another varint */
        const size_t end = varint_end(at);
        replace(at, end - at, made, write_varint(made, any_number(), draw() % 4 ? 0 : below(10)));
        break;
    }
    case 7: /* another length or number in place */
        if (rest) work[at] = (uint8_t)any_number();
        break;
    case 8: /* cut off */
        work_size = at;
        break;
    case 9: { /* a field twice */
        const size_t begin = any_field(), end = field_end(begin);
        replace(draw() % 2 ? end : work_size, 0, work + begin, end - begin);
        break;
    }
    case 10: { /* a field less */
        const size_t begin = any_field();
        replace(begin, field_end(begin) - begin, made, 0);
        break;
    }
    case 11:
    case 12: /* a field more */
        replace(draw() % 2 ? any_field() : at, 0, made, make_field(made));
        break;
    default: { /* the end of another input */
        const input *const other = &corpus.at[below(corpus.count)];
        const size_t from = below(other->size + 1);
        replace(at, rest, other->data + from, other->size - from);
    }
    }
}

/* ---------------------------------------------------------------- work */

static double now_s(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static struct {
    double max_s;
    uint64_t runs, seed;
    const char *prefix;
    int is_merge, is_replay;
    const char *paths[4096];
    size_t num_paths;
} options = {.max_s = 0, .runs = UINT64_MAX, .seed = 0, .prefix = ""};

static void report(double began_s, const char *what) {
    const double took_s = now_s() - began_s;
    printf("%s: %llu runs in %.1f s (%.0f/s), %u edges, %zu inputs\n", what, (unsigned long long)shared->runs, took_s,
           took_s > 0 ? (double)shared->runs / took_s : 0.0, num_edges(), corpus.count);
    fflush(stdout);
}

/* Of one folder after the other: always the input that adds the most edges, of equal ones the smallest. */
static void merge(void) {
    char name[4096], prefix[4096];
    size_t kept = 0, total = 0;
    snprintf(prefix, sizeof prefix, "%s/", options.paths[0]);
    for (size_t p = 1; p < options.num_paths; p++) {
        corpus.count = 0;
        read_folder(options.paths[p]);
        qsort(corpus.at, corpus.count, sizeof *corpus.at, compare_sizes);
        uint8_t *const reached = calloc(corpus.count + 1, MAP_SIZE);
        if (!reached) abort();
        for (size_t k = 0; k < corpus.count; k++) {
            run(corpus.at[k].data, corpus.at[k].size);
            memcpy(reached + k * MAP_SIZE, counts, MAP_SIZE);
        }
        for (;;) {
            size_t best = 0, most = 0;
            for (size_t k = 0; k < corpus.count; k++) {
                size_t fresh = 0;
                for (size_t e = 0; e < MAP_SIZE; e++) fresh += reached[k * MAP_SIZE + e] && !seen[e];
                if (fresh > most) {
                    most = fresh;
                    best = k;
                }
            }
            if (!most) break;
            for (size_t e = 0; e < MAP_SIZE; e++) seen[e] |= reached[best * MAP_SIZE + e];
            write_input(prefix, "", corpus.at[best].data, corpus.at[best].size, name, sizeof name);
            kept++;
        }
        total += corpus.count;
        for (size_t k = 0; k < corpus.count; k++) free(corpus.at[k].data);
        free(reached);
    }
    corpus.count = 0;
    printf("kept %zu of %zu inputs, %u edges\n", kept, total, num_edges());
}

static void fuzz(double began_s) {
    char name[4096], prefix[4096];
    double told_s = began_s;
    snprintf(prefix, sizeof prefix, "%s/", options.paths[0]);
    while (shared->runs < options.runs) {
        /* New inputs are the ones to follow up. */
        const size_t from = draw() % 3 ? 0 : corpus.count - corpus.count / 8 - 1;
        const input *const parent = &corpus.at[from + below(corpus.count - from)];
        work_size = parent->size < max_length ? parent->size : max_length;
        memcpy(work, parent->data, work_size);
        for (size_t changes = (size_t)1 << below(4); changes; changes--) change();
        run(work, work_size);
        if (add_coverage()) {
            keep(work, work_size);
            write_input(prefix, "", work, work_size, name, sizeof name);
        }
        if (shared->runs % 256) continue;
        const double now = now_s();
        if (options.max_s > 0 && now - began_s >= options.max_s) break;
        if (now - told_s >= 10) {
            report(began_s, "fuzz");
            told_s = now;
        }
    }
}

static void child(void) {
    const double began_s = now_s();
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody would stop it */
    chance = options.seed;
    if (options.is_merge) {
        merge();
    } else {
        for (size_t k = 0; k < options.num_paths; k++)
            (options.is_replay ? read_file : read_folder)(options.paths[k]);
        const size_t num_seeds = corpus.count;
        for (size_t k = 0; k < num_seeds; k++) {
            run(corpus.at[k].data, corpus.at[k].size);
            add_coverage();
        }
        report(began_s, "replay");
        if (!options.is_replay && options.runs > 0) {
            if (!corpus.count) keep((const uint8_t *)"", 0);
            shared->runs = 0;
            const double start_s = now_s();
            fuzz(start_s);
            report(start_s, "done");
        }
    }
    for (size_t k = 0; k < corpus.count; k++) free(corpus.at[k].data);
    free(corpus.at);
    fflush(stdout);
    exit(0); /* where leaks are looked for */
}

/* Waits for the child; a status that is not 0 means that the input at hand is a finding. */
static int watch(pid_t worker) {
    uint64_t begun = 0;
    double moved_s = now_s();
    int status, is_stuck = 0;
    for (;;) {
        const pid_t ended = waitpid(worker, &status, WNOHANG);
        if (ended == worker) break;
        if (ended < 0 && errno != EINTR) stop("Cannot wait for", "the child");
        const struct timespec pause = {0, 20 * 1000 * 1000};
        nanosleep(&pause, NULL);
        if (shared->begun != begun || !begun) { /* before the first one it reads the corpus */
            begun = shared->begun;
            moved_s = now_s();
        } else if (now_s() - moved_s > STUCK_S && !is_stuck && !options.is_merge) {
            is_stuck = 1;
            kill(worker, SIGKILL);
        }
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2) return 2; /* a file could not be read */
    char name[4096];
    write_input(options.prefix, is_stuck ? "timeout-" : "crash-", shared->data, shared->size, name, sizeof name);
    fprintf(stderr, "%s after %llu runs; the input is in %s\n",
            is_stuck ? "An input takes over 10 s" : "It failed", (unsigned long long)shared->runs, name);
    return 1;
}

static int takes(const char *argument, const char *option, const char **value) {
    const size_t size = strlen(option);
    if (strncmp(argument, option, size)) return 0;
    *value = argument + size;
    return 1;
}

int main(int argc, char **argv) {
    for (int k = 1; k < argc; k++) {
        const char *value;
        struct stat found;
        if (takes(argv[k], "-max_total_time=", &value)) {
            options.max_s = strtod(value, NULL);
        } else if (takes(argv[k], "-runs=", &value)) {
            options.runs = strtoull(value, NULL, 10);
        } else if (takes(argv[k], "-seed=", &value)) {
            options.seed = strtoull(value, NULL, 10);
        } else if (takes(argv[k], "-max_len=", &value)) {
            max_length = (size_t)strtoull(value, NULL, 10);
            if (max_length > MAX_LENGTH) max_length = MAX_LENGTH;
        } else if (takes(argv[k], "-artifact_prefix=", &value)) {
            options.prefix = value;
        } else if (takes(argv[k], "-merge=", &value)) {
            options.is_merge = *value != '0';
        } else if (argv[k][0] == '-' || options.num_paths == sizeof options.paths / sizeof *options.paths) {
            fprintf(stderr, "Unknown option %s; see the head of driver.c.\n", argv[k]);
            return 2;
        } else {
            if (stat(argv[k], &found)) stop("Cannot read", argv[k]);
            options.is_replay |= S_ISREG(found.st_mode);
            options.paths[options.num_paths++] = argv[k];
        }
    }
    if (!options.num_paths) {
        fprintf(stderr, "Give a folder to fuzz from, or files to run; see the head of driver.c.\n");
        return 2;
    }
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) stop("Cannot map", "memory");
    fflush(NULL);
    const pid_t worker = fork();
    if (worker < 0) stop("Cannot fork", "a child");
    if (worker == 0) child();
    _exit(watch(worker)); /* leaks are the child's business */
}
