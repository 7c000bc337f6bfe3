package dev.segexport.core;

import java.util.ArrayDeque;

/**
 * Hands pictures from a fast producer, a camera, to a slow consumer, a model: one picture waits, the newest. An older
 * one that nobody took is dropped and counted. Three buffers are enough: one is filled, one waits, one is in use.
 */
final class NewestFrame<T> {
    private final ArrayDeque<T> free = new ArrayDeque<>();
    private T waiting;
    private boolean closed;
    private long offered;
    private long dropped;

    /** The producer: a buffer that nobody uses; null where a new one has to be made. */
    synchronized T blank() {
        return free.poll();
    }

    /** The producer: the newest picture. It is not waited for. */
    synchronized void offer(T frame) {
        if (closed) {
            return;
        }
        offered++;
        if (waiting != null) {
            dropped++;
            free.add(waiting);
        }
        waiting = frame;
        notifyAll();
    }

    /** The consumer: waits for the newest picture; null after {@link #close}. */
    synchronized T take() throws InterruptedException {
        while (waiting == null && !closed) {
            wait();
        }
        T taken = closed ? null : waiting;
        waiting = null;
        return taken;
    }

    /** The consumer: its picture is not needed any more. */
    synchronized void giveBack(T frame) {
        free.add(frame);
    }

    /** Whoever waits is told so; later pictures are ignored. */
    synchronized void close() {
        closed = true;
        waiting = null;
        free.clear();
        notifyAll();
    }

    synchronized long offered() {
        return offered;
    }

    synchronized long dropped() {
        return dropped;
    }
}
