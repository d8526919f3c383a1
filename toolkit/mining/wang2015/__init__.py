"""The paper's own recipe for mining patches (Wang & Gupta, ICCV 2015), as far as it can be had.

What the paper says, and what is done here:

- *SURF interest points.* SURF is patented and no wheel of OpenCV holds it; SIFT (Lowe 2004)
  stands in for it.
- *Their motion by Improved Dense Trajectories*, which takes the camera out by a homography
  (Wang & Schmid, ICCV 2013). A homography is fitted by RANSAC to the points that match from
  one frame to the next; each point is then followed by pyramidal Lucas-Kanade, which gives
  the same shares of moving points as their dense flow in an eighth of the time.
- *A point moves with more than 0.5 pixels of flow; frames with under 25 % or over 75 % of
  moving points are rejected.* Taken literally.
- *The 227x227 box with the most moving points in a frame of 448x600 is the query; a KCF
  tracker follows it for 30 frames; the last box is the positive.* Taken literally; the
  patches are those 227x227 pixels of the scaled frame.

Where the paper says nothing: a query is looked for in each frame until one is found, and
the next one where its track ended, so that tracks do not overlap. Ties between boxes go to
the one whose middle is nearest to the points in it. A portrait frame is scaled to 600x448.

What is added, because every recipe here has to be trustworthy: a track ends at a cut, at a
hole in the footage and where it leaves the frame; KCF also runs backwards, and a pair
carries its quality. With `min_quality` 0 no pair is dropped for that, as in the paper.
"""
