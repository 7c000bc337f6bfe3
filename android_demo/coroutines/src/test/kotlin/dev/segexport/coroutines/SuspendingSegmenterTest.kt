package dev.segexport.coroutines

import dev.segexport.core.ArgbPixels
import dev.segexport.core.Backend
import dev.segexport.core.Manifest
import dev.segexport.core.Manifests
import dev.segexport.core.OutputTensor
import dev.segexport.core.Pixels
import dev.segexport.core.SegmentationException
import dev.segexport.core.SegmentationException.Kind
import java.io.File
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.conflate
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.flowOf
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Assert.fail
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

/** Class 1 where red is above 127. A run waits for [hold], which [Backend.Session.cancel] opens. */
private class RedBackend : Backend {
    val runs = AtomicInteger()
    val begun = CountDownLatch(1)
    val ended = CountDownLatch(1)

    @Volatile var hold: CountDownLatch? = null

    @Volatile var fault: SegmentationException? = null

    override fun name() = "Red"

    override fun format() = "onnx"

    override fun open(model: File, manifest: Manifest, threads: Int) = object : Backend.Session {
        override fun version() = "1.0"

        override fun run(nchw: FloatArray, height: Int, width: Int): OutputTensor {
            runs.incrementAndGet()
            begun.countDown()
            fault?.let { throw it }
            hold?.let {
                it.await()
                ended.countDown()
                throw SegmentationException(Kind.RUN_FAILED, "ended")
            }
            val plane = height * width
            val scores = FloatArray(2 * plane) { if (it < plane) 127.5f else nchw[it - plane] }
            return OutputTensor(scores, longArrayOf(1, 2, height.toLong(), width.toLong()))
        }

        override fun cancel() {
            hold?.countDown()
        }

        override fun close() {}
    }
}

class SuspendingSegmenterTest {
    @get:Rule val folder = TemporaryFolder()

    private val backend = RedBackend()
    private val red: Pixels = ArgbPixels(intArrayOf(0xFFFF0000.toInt(), 0xFF0000FF.toInt()), 2, 1)
    private val blue: Pixels = ArgbPixels(intArrayOf(0xFF0000FF.toInt(), 0xFF0000FF.toInt()), 2, 1)

    private fun test(work: suspend (SuspendingSegmenter) -> Unit) = runBlocking {
        val manifest = Manifests.parse(Manifests.json("onnx", 4, 2, Manifests.LOGITS))
        withTimeout(20_000) { SuspendingSegmenter.open(backend, folder.newFile(), manifest, 1).use { work(it) } }
    }

    private suspend fun kindOf(work: suspend () -> Unit): Kind? =
        try {
            work()
            null
        } catch (error: SegmentationException) {
            error.kind()
        }

    @Test
    fun `a picture becomes a mask of its size`() = test { segmenter ->
        assertEquals(4, segmenter.segment(red).mask.width)
        assertArrayEquals(charArrayOf(1.toChar(), 0.toChar()), segmenter.mask(red).ids)
    }

    @Test
    fun `a flow of frames becomes a flow of masks, in order`() = test { segmenter ->
        val masks = segmenter.masks(flowOf(red, blue, red)).toList().map { it.ids[0].code }
        assertEquals(listOf(1, 0, 1), masks)
        assertEquals(2, segmenter.follow(flowOf(red, blue), smoother = { null }).toList().size)
    }

    @Test
    fun `of a camera's frames the newest is segmented`() = test { segmenter ->
        val camera = flow {
            repeat(200) {
                emit(red)
                delay(1)
            }
        }
        segmenter.masks(camera.conflate()).toList()
        assertTrue("${backend.runs.get()} runs", backend.runs.get() in 1..200)
        assertEquals(2, segmenter.masks(camera.conflate()).take(2).toList().size)
    }

    @Test
    fun `failures keep their kind`() = test { segmenter ->
        backend.fault = SegmentationException(Kind.OUT_OF_MEMORY, "not enough memory")
        assertEquals(Kind.OUT_OF_MEMORY, kindOf { segmenter.segment(red) })
        assertEquals(Kind.OUT_OF_MEMORY, kindOf { segmenter.masks(flowOf(red)).toList() })
        backend.fault = null
        assertEquals(Kind.BAD_IMAGE, kindOf { segmenter.segment(ArgbPixels(IntArray(0), 0, 0)) })
        assertNull(kindOf { segmenter.segment(red) })
        segmenter.close()
        assertEquals(Kind.CLOSED, kindOf { segmenter.segment(red) })
        val manifest = Manifests.parse(Manifests.json("onnx", 4, 2, Manifests.LOGITS))
        assertEquals(Kind.MODEL_MISSING, kindOf { SuspendingSegmenter.open(backend, File("absent"), manifest) })
    }

    @Test
    fun `cancelling ends the run that is under way`() = runBlocking {
        test { segmenter ->
            backend.hold = CountDownLatch(1)
            val waits = launch(Dispatchers.Default) { segmenter.segment(red) }
            assertTrue(backend.begun.await(10, TimeUnit.SECONDS))
            waits.cancelAndJoin()
            assertTrue(backend.ended.await(10, TimeUnit.SECONDS))
            backend.hold = null
            assertEquals(1, segmenter.mask(red).ids[0].code)
        }
    }

    @Test
    fun `cancelling is a cancellation and no failure`() = runBlocking {
        test { segmenter ->
            backend.hold = CountDownLatch(1)
            val waits = async(Dispatchers.Default) { segmenter.masks(flowOf(red, red, red)).toList() }
            assertTrue(backend.begun.await(10, TimeUnit.SECONDS))
            waits.cancel()
            try {
                waits.await()
                fail("it was cancelled")
            } catch (expected: CancellationException) {
                assertEquals("the other frames were run", 1, backend.runs.get())
            }
        }
    }
}
