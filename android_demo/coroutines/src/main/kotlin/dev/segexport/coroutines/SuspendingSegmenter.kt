package dev.segexport.coroutines

import dev.segexport.core.Backend
import dev.segexport.core.FloatImage
import dev.segexport.core.Manifest
import dev.segexport.core.Mask
import dev.segexport.core.Matte
import dev.segexport.core.Pixels
import dev.segexport.core.Postprocess
import dev.segexport.core.Segmentation
import dev.segexport.core.SegmentationException
import dev.segexport.core.Segmenter
import dev.segexport.core.VideoSmoother
import java.io.File
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.runInterruptible

/**
 * A [Segmenter] for coroutines. Its functions suspend and block no thread of the caller; they throw
 * [SegmentationException], whose `kind()` says what went wrong.
 *
 * Cancelling a coroutine that waits takes its image out of the queue, and ends its run where the runtime can do that
 * (ONNX Runtime can). Images are run one after the other, in the order in which they were asked for.
 */
class SuspendingSegmenter(
    /** Belongs to this object from now on: [close] closes it. */
    val segmenter: Segmenter,
    private val dispatcher: CoroutineDispatcher = Dispatchers.IO,
) : AutoCloseable {
    /** Segments a picture. */
    suspend fun segment(image: Pixels): Segmentation = waiting { segmenter.segment(image) }

    /** Segments an image of any number of channels, as the model takes. */
    suspend fun segment(image: FloatImage): Segmentation = waiting { segmenter.segment(image) }

    /** Segments a picture and brings the classes to its size. */
    suspend fun mask(image: Pixels): Mask = waiting { restored(segmenter.segment(image)) }

    /**
     * The mask of each frame, at the frame's size.
     *
     * Frames wait until the one before is done: a camera's are given as `frames.conflate()`, which drops all but the
     * newest. The flow ends with the [SegmentationException] of the first frame that fails.
     */
    fun masks(frames: Flow<Pixels>): Flow<Mask> = frames.map { mask(it) }

    /**
     * The foreground of each frame of one video, smoothed over time.
     *
     * @param smoother made for each collector, since it remembers the frame before; null: each frame for itself
     * @param foreground the classes in front; none: all but class 0
     */
    fun follow(
        frames: Flow<Pixels>,
        vararg foreground: Int,
        smoother: () -> VideoSmoother? = { VideoSmoother() },
    ): Flow<Matte> = flow {
        val memory = smoother()
        frames.collect { frame -> emit(waiting { segmenter.follow(frame, memory, *foreground) }) }
    }

    /** Frees the model after the run that is under way. Whoever waits, or asks later, gets the kind CLOSED. */
    override fun close() = segmenter.close()

    private suspend fun <T> waiting(work: () -> T): T = interruptible(dispatcher, work)

    companion object {
        /**
         * Loads a model.
         *
         * @throws SegmentationException MODEL_MISSING, MODEL_REFUSED, BACKEND_MISSING, LIBRARY_UNSUITABLE or UNSUPPORTED
         */
        suspend fun open(
            backend: Backend,
            model: File,
            manifest: Manifest,
            threads: Int = 4,
            dispatcher: CoroutineDispatcher = Dispatchers.IO,
        ): SuspendingSegmenter =
            SuspendingSegmenter(interruptible(dispatcher) { Segmenter.open(backend, model, manifest, threads) }, dispatcher)
    }
}

private fun restored(answer: Segmentation): Mask = Postprocess.restore(answer.mask, answer.placement)

/** Cancelling interrupts the thread that waits; a segmenter's word for that becomes the coroutine's. */
private suspend fun <T> interruptible(dispatcher: CoroutineDispatcher, work: () -> T): T = runInterruptible(dispatcher) {
    try {
        work()
    } catch (error: SegmentationException) {
        throw if (error.kind() == SegmentationException.Kind.CANCELLED) {
            InterruptedException(error.message).apply { initCause(error) }
        } else {
            error
        }
    }
}
