package dev.segexport.demo.work;

import java.util.ArrayDeque;

/**
 * All that one use of a camera opens, from the moment that a screen is shown until it is left. Cameras, their sessions
 * and models open in their own time: what is opened after {@link #close} is closed at once, so that nothing leaks
 * however late an answer comes. From any thread.
 */
public final class CameraLease {
    /** Something to close. */
    public interface Held {
        void close() throws Exception;
    }

    private final ArrayDeque<Held> held = new ArrayDeque<>();
    private boolean closed;

    /** Keeps {@code opened} until the lease ends; false if it has ended, and {@code opened} is closed already. */
    public boolean hold(Held opened) {
        synchronized (held) {
            if (!closed) {
                held.push(opened);
                return true;
            }
        }
        close(opened);
        return false;
    }

    public boolean isClosed() {
        synchronized (held) {
            return closed;
        }
    }

    /** Closes everything, what was opened last first. May be called twice. */
    public void close() {
        while (true) {
            Held next;
            synchronized (held) {
                closed = true;
                next = held.poll();
            }
            if (next == null) {
                return;
            }
            close(next);
        }
    }

    /** A camera that broke down may not close either; the rest must. */
    private static void close(Held opened) {
        try {
            opened.close();
        } catch (Exception broken) {
            return;
        }
    }
}
