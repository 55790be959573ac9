/* A server that answers every request with 202 after a fixed delay, and does nothing else: what the relay is measured
 * against. One thread, epoll, HTTP/1.1 with connections kept alive, one request a connection at a time.
 *
 *     sink PORT DELAY_MILLISECONDS [LOG]
 *
 * PORT 0 takes a free one; the port is printed. LOG gets the body of every request, one a line, before it is answered.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 4096
#define REQUEST 16384

static const char ANSWER[] = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

struct connection { char text[REQUEST]; size_t length; };
/* Answers that wait, in the order of their time: the delay is the same for all. `number`: which life of the descriptor
 * is meant, since another connection may have it by then. */
struct waiting { int descriptor; unsigned number; double due; };

static struct connection *connections[CONNECTIONS];
static unsigned numbers[CONNECTIONS];
static struct waiting queue[CONNECTIONS * 2];
static size_t first, last;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static void end(int descriptor) {
    close(descriptor);
    free(connections[descriptor]);
    connections[descriptor] = NULL;
    numbers[descriptor]++;
}

/* The length of the first whole request in `text`, 0 where it is not whole yet; `body` is where its body begins. */
static size_t whole(struct connection *connection, char **body) {
    connection->text[connection->length] = 0;
    char *head_end = strstr(connection->text, "\r\n\r\n");
    if (!head_end) return 0;
    char *header = strcasestr(connection->text, "\r\ncontent-length:");
    size_t content = header && header < head_end ? strtoul(header + 17, NULL, 10) : 0;
    *body = head_end + 4;
    size_t length = (size_t)(*body - connection->text) + content;
    return length <= connection->length ? length : 0;
}

int main(int count, char **words) {
    if (count < 3) return fprintf(stderr, "usage: sink PORT DELAY_MILLISECONDS [LOG]\n"), 2;
    double delay = atof(words[2]);
    FILE *log = count > 3 ? fopen(words[3], "a") : NULL;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1, poller = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (void *)&address, size) || listen(listener, 1024)) return perror("sink"), 1;
    getsockname(listener, (void *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        /* In microseconds: a wait rounded to milliseconds would lengthen the delay. */
        struct timespec wait = {0}, *timeout = NULL;
        if (first != last) {
            double left = queue[first % (CONNECTIONS * 2)].due - now();
            if (left > 0) wait.tv_sec = left / 1e3, wait.tv_nsec = (left - wait.tv_sec * 1e3) * 1e6;
            timeout = &wait;
        }
        int ready = epoll_pwait2(poller, events, 256, timeout, NULL);
        for (int i = 0; i < ready; i++) {
            int descriptor = events[i].data.fd;
            if (descriptor == listener) {
                int new;
                while ((new = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    if (new >= CONNECTIONS) { close(new); continue; }
                    setsockopt(new, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                    connections[new] = calloc(1, sizeof(struct connection));
                    event.events = EPOLLIN, event.data.fd = new;
                    epoll_ctl(poller, EPOLL_CTL_ADD, new, &event);
                }
                continue;
            }
            struct connection *connection = connections[descriptor];
            ssize_t got = read(descriptor, connection->text + connection->length, REQUEST - 1 - connection->length);
            if (got < 0 && errno == EAGAIN) continue;
            if (got <= 0) { end(descriptor); continue; }
            connection->length += got;
            char *body;
            size_t length = whole(connection, &body);
            if (!length) continue;
            if (log) fwrite(body, 1, connection->text + length - body, log), fputc('\n', log), fflush(log);
            memmove(connection->text, connection->text + length, connection->length -= length);
            queue[last++ % (CONNECTIONS * 2)] = (struct waiting){descriptor, numbers[descriptor], now() + delay};
        }
        for (double time = now(); first != last && queue[first % (CONNECTIONS * 2)].due <= time; first++) {
            struct waiting *waiting = &queue[first % (CONNECTIONS * 2)];
            if (numbers[waiting->descriptor] != waiting->number || !connections[waiting->descriptor]) continue;
            if (write(waiting->descriptor, ANSWER, sizeof ANSWER - 1) < 0) end(waiting->descriptor);
        }
    }
}
