package dev.segexport.demo.work;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;

import org.junit.Test;

public class BenchmarkTest {
    private int count;

    @Test
    public void warmsUpOnceAndCountsTheOthers() throws Exception {
        assertArrayEquals(new double[] {2, 3, 4}, new Benchmark(3).measure(() -> ++count), 0);
    }

    @Test
    public void isStoppedAfterTheRunThatIsUnderWay() throws Exception {
        Benchmark benchmark = new Benchmark(1000);
        double[] times = benchmark.measure(() -> {
            if (++count == 3) {
                benchmark.stop();
            }
            return count;
        });
        assertArrayEquals(new double[] {2, 3}, times, 0);
        assertEquals(0, benchmark.measure(() -> ++count).length);
        assertEquals("a stopped one does not begin", 3, count);
    }
}
