/* The echo server of echo.py in C, for the sanitizers: what tests send to one they send to the other.

   Its arguments are the limits in the order of `td_limits`. It prints its port, obeys the letters of standard input (d: drain,
   c: print the counters and open connections) and ends with it. */

#include "transport.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static td_call *held;

static int is_path(const td_call *call, const char *path) {
    return call->path.size == strlen(path) && !memcmp(call->path.data, path, call->path.size);
}

static void answer(td_transport *transport, td_call *call, td_bytes body) {
    const td_bytes type = {"text/plain", 10}, none = {"", 0};
    if (call->protocol == TD_GRPC)
        (void)td_answer_grpc(transport, call, 0, none, body);
    else
        (void)td_answer_http(transport, call, 200, type, body);
}

static void handle(td_transport *transport, td_call *call) {
    if (is_path(call, "/hold")) {
        call->next = held;
        held = call;
    } else if (is_path(call, "/release")) {
        int num = 0, num_gone = 0;
        while (held) {
            td_call *const next = held->next;
            num++;
            num_gone += held->is_gone;
            answer(transport, held, held->body);
            held = next;
        }
        char text[32];
        const int size = snprintf(text, sizeof text, "%d %d", num, num_gone);
        answer(transport, call, (td_bytes){text, (uint32_t)size});
    } else if (is_path(call, "/big")) {
        char number[9] = "";
        memcpy(number, call->body.data, call->body.size < 8 ? call->body.size : 8);
        const uint32_t size = (uint32_t)strtoul(number[0] == '-' ? "" : number, NULL, 10);
        char *const body = malloc(size + 1);
        memset(body, 'x', size);
        answer(transport, call, (td_bytes){body, size});
        free(body);
    } else if (is_path(call, "/error") && call->protocol == TD_GRPC) {
        (void)td_answer_grpc(transport, call, 5, call->body, (td_bytes){"", 0});
    } else {
        answer(transport, call, call->body);
    }
}

static void print_counts(const td_transport *transport, const td_transport_counts *counts) {
    const uint64_t *const numbers = (const uint64_t *)counts;
    for (size_t k = 0; k < sizeof *counts / sizeof *numbers; k++) printf("%llu ", (unsigned long long)numbers[k]);
    printf("%u\n", td_transport_num_connections(transport));
    fflush(stdout);
}

int main(int num, char **words) {
    td_transport_counts counts = {0};
    td_limits limits;
    const char *why;
    if (num != 11) return 2;
    uint64_t values[10];
    for (int k = 0; k < 10; k++) values[k] = strtoull(words[k + 1], NULL, 10);
    limits = (td_limits){(uint32_t)values[0], (uint32_t)values[1], (uint32_t)values[2], (uint32_t)values[3], (uint32_t)values[4],
                         values[5], (uint32_t)values[6], (uint32_t)values[7], (uint32_t)values[8], (uint32_t)values[9]};
    td_transport *const transport = td_transport_new(&limits, &counts, &why);
    if (!transport) return 3;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    const int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listening, (struct sockaddr *)&address, sizeof address) || listen(listening, 4096) ||
        getsockname(listening, (struct sockaddr *)&address, &size))
        return 4;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    if (td_transport_watch(transport, 0, 0) || td_transport_watch(transport, listening, 1)) return 5;
    for (;;) {
        const int bits = td_transport_poll(transport, -1);
        if (bits < 0) return 6;
        if (bits & 1) {
            char letter;
            if (read(0, &letter, 1) != 1) break;
            if (letter == 'd') td_transport_drain(transport);
            if (letter == 'c') print_counts(transport, &counts);
        }
        int descriptor;
        while (bits & 2 && (descriptor = accept(listening, NULL, NULL)) >= 0) (void)td_transport_adopt(transport, descriptor);
        td_call *call;
        while ((call = td_transport_take(transport))) handle(transport, call);
        td_transport_flush(transport);
    }
    td_transport_free(transport);
    close(listening);
    return 0;
}
