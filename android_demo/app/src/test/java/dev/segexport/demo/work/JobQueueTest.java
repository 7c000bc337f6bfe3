package dev.segexport.demo.work;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertTrue;

import dev.segexport.core.SegmentationException;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Queue;
import org.junit.Test;

public class JobQueueTest {
    private final Queue<Runnable> worker = new ArrayDeque<>();
    private final Queue<Runnable> screen = new ArrayDeque<>();
    private final List<Boolean> shown = new ArrayList<>();
    private final JobQueue[] own = new JobQueue[1];
    private final JobQueue jobs = new JobQueue(worker::add, screen::add, () -> shown.add(own[0].busy()));

    public JobQueueTest() {
        own[0] = jobs;
    }

    private void work(int count) {
        for (int i = 0; i < count; i++) {
            worker.remove().run();
            screen.remove().run();
        }
    }

    @Test
    public void isBusyUntilTheLastJobIsDone() {
        assertFalse(jobs.busy());
        jobs.add(() -> {});
        jobs.add(() -> {});
        work(1);
        assertTrue("one of two jobs is left", jobs.busy());
        work(1);
        assertFalse(jobs.busy());
        assertEquals(Arrays.asList(true, true, true, false), shown);
    }

    @Test
    public void everyFailureIsTypedAndTheWorkerGoesOn() {
        jobs.add(() -> {
            throw new IllegalStateException("broken");
        });
        jobs.add(() -> {
            throw new IOException("gone");
        });
        jobs.add(() -> {
            throw new OutOfMemoryError();
        });
        jobs.add(() -> {
            throw new UnsatisfiedLinkError("libabsent.so");
        });
        SegmentationException.Kind[] kinds = {
            SegmentationException.Kind.RUN_FAILED, SegmentationException.Kind.BAD_IMAGE,
            SegmentationException.Kind.OUT_OF_MEMORY, SegmentationException.Kind.RUN_FAILED,
        };
        for (SegmentationException.Kind kind : kinds) {
            work(1);
            assertEquals(kind, jobs.error().kind());
        }
        assertTrue(jobs.error().getMessage().contains("libabsent.so"));
    }

    @Test
    public void aJobThatWaitedBehindAFailureDoesNotHideIt() {
        jobs.add(() -> {
            throw new IllegalStateException("broken");
        });
        jobs.add(() -> {});
        work(2);
        assertTrue(jobs.error().getMessage().contains("broken"));
        jobs.add(() -> {}); // the user has seen it
        work(1);
        assertNull(jobs.error());
    }
}
